"""The leading server's chores, next to serving: the store is kept within its rules."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import AsyncIterator

from coredumpd import errors
from coredumpd.apiserver.machinery import options
from coredumpd.kube import client, events
from coredumpd.kube import lease as leader
from coredumpd.server import app
from coredumpd.server.dumps import in_use
from coredumpd.server.endpoints import resource as endpoints
from coredumpd.server.retention import collector, quota
from coredumpd.settings import sections

LEASE = "coredumpd-collector"
_log = logging.getLogger(__name__)


@contextlib.asynccontextmanager
async def running(
    serving: app.App, stored: in_use.Watched, kube: client.Client, settings: sections.Settings
) -> AsyncIterator[None]:
    """Collect garbage while the block runs, whenever this server leads.

    Outside of a cluster there is no namespace for the lease, and nothing is collected.
    """
    namespace = os.environ.get("POD_NAMESPACE") or client.own_namespace()
    if namespace is None:
        _log.info("not in a pod, and POD_NAMESPACE is not set: no garbage is collected here")
        yield
        return
    identity = f"{socket.gethostname()}_{os.urandom(4).hex()}"
    lease = leader.Leader(kube, namespace, LEASE, identity)
    teller = events.Events(kube, socket.gethostname())
    chores = collector.Collector(
        stored,
        kube,
        settings.retention,
        settings.crashLoop,
        lambda: lease.leads,
        notice=quota.Notice(kube, namespace),
        tell=teller.pod,
        forget=Forgetter(serving.endpoints),
        in_use=stored.in_use,
        registry=serving.metrics.registry,
    )
    tasks = [
        asyncio.create_task(lease.run(), name="lease"),
        asyncio.create_task(chores.run(), name="collector"),
        asyncio.create_task(teller.run(), name="events"),
    ]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await lease.resign()


class Forgetter:
    """Deletes the CoredumpEndpoints that refer to a pod whose dumps are gone."""

    def __init__(self, resource: endpoints.Endpoints) -> None:
        self._endpoints = resource

    async def __call__(self, namespace: str, pod_uid: str) -> None:
        wanted = options.list_({"fieldSelector": f"spec.podUID={pod_uid}"}, self._endpoints.fields)
        found, _ = await self._endpoints.list(namespace, wanted)
        for entry in found:
            meta = entry["metadata"]
            body = {"preconditions": {"uid": meta["uid"]}}
            try:
                await self._endpoints.delete(
                    namespace, meta["name"], body, options.Write(dry_run=False, validation="")
                )
            except (errors.NotFound, errors.Conflict):
                continue  # its owner was faster, or made a new one
            _log.info("coredumpendpoint %s/%s went with its dumps", namespace, meta["name"])
