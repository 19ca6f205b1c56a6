"""Attributes a crash to a pod: asks Kubernetes to confirm what the handler found on the node.

The handler has recorded what the cgroup and the runtime's state file say. The API adds the pod's
labels, owner and restarts, translates a static pod's uid, and names the pod of a record that has
only a cgroup.
"""

from __future__ import annotations

import logging
import time
import urllib.parse
from collections.abc import Iterable
from typing import Any

from coredumpd import errors
from coredumpd.formats import annotations as rules
from coredumpd.formats import names
from coredumpd.formats import record as records
from coredumpd.kube import api, collection, pods

_log = logging.getLogger(__name__)
CONFIRM_TIMEOUT_S = 3.0  # an API that is down may delay a dump by this, once


class Attributor:
    """Completes records by the API; without it (`kube` None) it only places the unnamed ones."""

    def __init__(
        self, kube: api.Requests | None, node: str | None, unnamed_patience_s: float = 120.0
    ) -> None:
        """`unnamed_patience_s`: how long an unnamed record waits for its pod to appear."""
        self._kube = kube
        self._node = node
        self._unnamed_patience_s = unnamed_patience_s
        self._unnamed_since_s: dict[str, float] = {}

    async def attribute(self, record: records.CrashRecord) -> records.CrashRecord:
        """The record completed from its pod; if it never gets a name, it goes to `_host`.

        A record with names is never delayed: if the API is away, it is returned unchanged. Raises
        Unavailable only for a record without names, which is worth another try.
        """
        if record.namespace == names.HOST_NAMESPACE:
            return record
        if self._kube is None:
            return record if record.namespace else unnamed(record, self._node)
        if record.namespace and record.pod_name:
            try:
                pod = await self._pod(self._kube, record.namespace, record.pod_name)
            except errors.NotFound:
                return record  # deleted meanwhile; the names from the node stand
            except errors.CoredumpdError as error:
                _log.warning("%s is shipped unconfirmed: %s", record.id, error)
                return record
            return await self._with_namespace_uid(self._kube, confirmed(record, pod))
        for pod in await self._pods_of_node(self._kube):
            completed = named(record, pod)
            if completed is not None:
                self._unnamed_since_s.pop(record.id, None)
                return await self._with_namespace_uid(self._kube, completed)
        return self._patiently_unnamed(record)

    def _patiently_unnamed(self, record: records.CrashRecord) -> records.CrashRecord:
        """A container that died young is in no status until the kubelet reports it."""
        now_s = time.monotonic()
        since_s = self._unnamed_since_s.setdefault(record.id, now_s)
        if now_s - since_s < self._unnamed_patience_s:
            raise errors.Unavailable(f"{record.id}: no pod {record.pod_uid} on this node yet")
        self._unnamed_since_s.pop(record.id)
        _log.warning("no pod %s on this node: %s goes to _host", record.pod_uid, record.id)
        return unnamed(record, self._node)

    async def _with_namespace_uid(
        self, kube: api.Requests, record: records.CrashRecord
    ) -> records.CrashRecord:
        """Add the namespace's uid to a confirmed record: a later namespace may reuse the name."""
        if record.attribution != "api":
            return record
        path = f"/api/v1/namespaces/{_quoted(record.namespace or '')}"
        try:
            _, namespace = await kube.request("GET", path, timeout_s=CONFIRM_TIMEOUT_S)
        except errors.CoredumpdError as error:
            _log.warning("%s is shipped without its namespace's uid: %s", record.id, error)
            return record
        return record.with_(namespaceUID=namespace["metadata"]["uid"])

    async def _pod(self, kube: api.Requests, namespace: str, name: str) -> dict[str, Any]:
        path = f"/api/v1/namespaces/{_quoted(namespace)}/pods/{_quoted(name)}"
        _, pod = await kube.request("GET", path, timeout_s=CONFIRM_TIMEOUT_S)
        return dict(pod)

    async def _pods_of_node(self, kube: api.Requests) -> Iterable[dict[str, Any]]:
        query = {"fieldSelector": f"spec.nodeName={self._node}"}
        return [pod async for pod in collection.every(kube, "/api/v1/pods", query)]


def confirmed(record: records.CrashRecord, pod: dict[str, Any]) -> records.CrashRecord:
    """`record` completed from `pod` if it is the crashed pod; otherwise `record` unchanged."""
    if record.pod_uid not in pods.uids(pod):
        return record  # another pod has the name now; the crashed one is gone
    status = pods.container_status(pod, record.container_id)
    owners = pod["metadata"].get("ownerReferences") or []
    owner = next((one for one in owners if one.get("controller")), None)
    record = records.pinned(record, rules.keeps(rules.ours(pod["metadata"])))
    return record.with_(
        podUID=pod["metadata"]["uid"],
        podLabels=pod["metadata"].get("labels") or {},
        owner={"kind": owner["kind"], "name": owner["name"]} if owner else None,
        restartCount=status.get("restartCount") if status else None,
        capture={**record.raw["capture"], "attribution": "api"},
    )


def named(record: records.CrashRecord, pod: dict[str, Any]) -> records.CrashRecord | None:
    """`record`, which has only a uid and a container id, named after `pod`; None if not its pod."""
    status = pods.container_status(pod, record.container_id)
    if record.pod_uid not in pods.uids(pod) or status is None:
        return None
    completed = record.with_(
        namespace=pod["metadata"]["namespace"],
        podName=pod["metadata"]["name"],
        container=status["name"],
        image=status.get("image"),
    )
    return confirmed(completed, pod)


def unnamed(record: records.CrashRecord, node: str | None) -> records.CrashRecord:
    """`record` in the host's namespace, which only cluster-wide roles see: its pod is unknown."""
    return record.with_(namespace=names.HOST_NAMESPACE, node=record.raw.get("node") or node)


def _quoted(name: str) -> str:
    return urllib.parse.quote(name, safe="")
