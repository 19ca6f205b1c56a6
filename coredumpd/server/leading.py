"""The duties of the leading server beside serving: it keeps the store within its rules.

Tested in: tests/integration/server/test_collecting.py
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Any

from coredumpd import errors
from coredumpd.apiserver.machinery import options
from coredumpd.kube import client, events, lease
from coredumpd.server import app, metrics
from coredumpd.server import cluster as clusters
from coredumpd.server.dumps import in_use
from coredumpd.server.endpoints import resource as endpoints
from coredumpd.server.retention import collector, quota
from coredumpd.settings import sections

LEASE = "coredumpd-collector"
_log = logging.getLogger(__name__)


@contextlib.asynccontextmanager
async def running(
    serving: app.App,
    store: in_use.CountingStore,
    kube: client.Client,
    cluster: clusters.KubeCluster,
    settings: sections.Settings,
    recorder: events.Events,
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
    leader = lease.Leader(kube, namespace, LEASE, identity)
    garbage = collector.Collector(
        store,
        cluster,
        collector.Rules(settings.retention, settings.crashLoop, settings.server.storeKeepFree),
        lambda: leader.leads,
        collector.Effects(
            publish=quota.Notice(kube, namespace).publish,
            write_event=recorder.pod,
            forget=EndpointRemover(serving.endpoints),
        ),
        metrics.Retention(serving.metrics.registry),
    )
    tasks = [
        asyncio.create_task(leader.run(), name="lease"),
        asyncio.create_task(garbage.run(), name="collector"),
        asyncio.create_task(recorder.run(), name="events"),
    ]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await leader.resign()


class EndpointRemover:
    """Deletes the CoredumpEndpoints that refer to a pod whose dumps are gone."""

    def __init__(self, resource: endpoints.Endpoints) -> None:
        self._endpoints = resource

    async def __call__(self, namespace: str, pod_uid: str) -> None:
        query = {"fieldSelector": f"spec.podUID={pod_uid}"}
        selection = options.list_(query, self._endpoints.fields)
        async with contextlib.aclosing(self._endpoints.pages(namespace, selection)) as pages:
            async for page in pages:
                await self._remove(namespace, page.objects)

    async def _remove(self, namespace: str, documents: Iterable[Mapping[str, Any]]) -> None:
        for document in documents:
            meta = document["metadata"]
            body = {"preconditions": {"uid": meta["uid"]}}
            try:
                await self._endpoints.delete(
                    namespace, meta["name"], body, options.Write(dry_run=False, validation="")
                )
            except (errors.NotFound, errors.Conflict):
                continue  # its owner was faster, or made a new one
            _log.info("coredumpendpoint %s/%s went with its dumps", namespace, meta["name"])
