"""Is this the end of the installation, or only of this process? Asked once, on SIGTERM."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import os

from coredumpd import errors
from coredumpd.kube import api, client

TIMEOUT_S = 5.0
_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class DaemonSet:
    """The DaemonSet this pod belongs to: its path in the API, and its uid."""

    path: str
    uid: str


class Installation:
    """The installation this agent belongs to, known by its DaemonSet; without Kubernetes, none."""

    def __init__(
        self, kube: api.Requests | None, find_every_s: float = 10.0, grace_s: float = 5.0
    ) -> None:
        """`grace_s`: how long a stop right after the start waits for the search."""
        self._kube = kube
        self._find_every_s = find_every_s
        self._grace_s = grace_s
        self._search: asyncio.Task[DaemonSet | None] | None = None

    def begin(self) -> None:
        """Search for the DaemonSet in the background. Call on the event loop."""
        if self._kube is not None:
            self._search = asyncio.create_task(self._find(self._kube), name="daemonset")

    async def ended(self) -> bool:
        """Is the DaemonSet being deleted, or gone? False while that is not known."""
        if self._kube is None or self._search is None:
            return False
        await asyncio.wait([self._search], timeout=self._grace_s)
        daemon_set = self._search.result() if self._search.done() else None
        return daemon_set is not None and await uninstalled(self._kube, daemon_set)

    def close(self) -> None:
        """End the search."""
        if self._search is not None:
            self._search.cancel()

    async def _find(self, kube: api.Requests) -> DaemonSet | None:
        while True:
            try:
                return await find(kube)
            except errors.CoredumpdError as error:
                _log.info("not known yet which DaemonSet we belong to: %s", error)
                await asyncio.sleep(self._find_every_s)


async def find(kube: api.Requests) -> DaemonSet | None:
    """Our DaemonSet: the owner of the pod that POD_NAMESPACE and POD_NAME name.

    None when this is not a DaemonSet's pod. Raises Unavailable.
    """
    namespace = os.environ.get("POD_NAMESPACE") or client.own_namespace()
    pod_name = os.environ.get("POD_NAME") or os.environ.get("HOSTNAME")
    if not namespace or not pod_name:
        return None
    try:
        _, pod = await kube.request("GET", f"/api/v1/namespaces/{namespace}/pods/{pod_name}")
    except (errors.NotFound, errors.Forbidden) as error:
        _log.warning("the agent does not find its own pod: %s", error)
        return None
    for owner in pod["metadata"].get("ownerReferences") or []:
        if owner["kind"] == "DaemonSet":
            path = f"/apis/apps/v1/namespaces/{namespace}/daemonsets/{owner['name']}"
            return DaemonSet(path, owner["uid"])
    return None


async def uninstalled(kube: api.Requests, daemon_set: DaemonSet) -> bool:
    """Is our DaemonSet being deleted, or gone?

    A refusal counts as gone: `kubectl delete -f` removes the RBAC objects first. Another DaemonSet
    of the same name does not count: its agent follows this one. Neither does an API that does not
    answer: a handler that stays works without an agent, and people have `agent uninstall`.
    """
    try:
        _, current = await kube.request("GET", daemon_set.path, timeout_s=TIMEOUT_S)
    except (errors.NotFound, errors.Unauthorized, errors.Forbidden) as error:
        _log.info("the DaemonSet is gone: %s", error)
        return True
    except errors.CoredumpdError as error:
        _log.warning("is this an uninstallation? unknown, so the handler stays: %s", error)
        return False
    meta = current["metadata"]
    return meta["uid"] == daemon_set.uid and bool(meta.get("deletionTimestamp"))
