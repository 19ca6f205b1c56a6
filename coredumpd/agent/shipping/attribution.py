"""Whose crash it was, as Kubernetes knows it: confirms what the node's own files said.

The handler has written what the cgroup and the runtime's state told it. The API adds what only it
knows, translates a static pod's uid, and names the pod of a record that has the cgroup alone.
"""

from __future__ import annotations

import logging
import time
import urllib.parse
from collections.abc import Iterable
from typing import Any

from coredumpd import errors
from coredumpd.formats import names as naming
from coredumpd.formats import record as records
from coredumpd.kube import api as apis
from coredumpd.kube import pods

_log = logging.getLogger(__name__)
CONFIRM_TIMEOUT_S = 3.0  # an API that is down may delay a dump by this, once
UNNAMED_PATIENCE_S = 120.0


class Attributor:
    """Completes records against the API; without one (`api` None) it only places the unnamed."""

    def __init__(self, api: apis.Requests | None, node: str | None) -> None:
        self._api = api
        self._node = node
        self._asked_since_s: dict[str, float] = {}

    async def attribute(self, crash: records.CrashRecord) -> records.CrashRecord:
        """The record with all that is known of its pod; one that has no pod any more goes to _host.

        A record with names is never held up: an API that is away leaves it as it is. Raises
        Unavailable only for a record that has no names yet, which is worth trying again.
        """
        if crash.raw["namespace"] == naming.HOST_NAMESPACE:
            return crash
        if self._api is None:
            return crash if crash.raw["namespace"] else unnamed(crash, self._node)
        if crash.raw["namespace"] and crash.raw["podName"]:
            try:
                found = confirmed(crash, await self._pod(self._api, crash))
            except errors.NotFound:
                return crash  # deleted meanwhile; the node's word stands
            except errors.CoredumpdError as error:
                _log.warning("%s is shipped unconfirmed: %s", crash.id, error)
                return crash
            return await self._of_namespace(self._api, found)
        pods = await self._pods_of_node(self._api)
        for pod in pods:
            completed = named(crash, pod)
            if completed is not None:
                self._asked_since_s.pop(crash.id, None)
                return await self._of_namespace(self._api, completed)
        return self._patiently_unnamed(crash)

    def _patiently_unnamed(self, crash: records.CrashRecord) -> records.CrashRecord:
        """A container that died young is in no status until the kubelet reports it."""
        now_s = time.monotonic()
        if now_s - self._asked_since_s.setdefault(crash.id, now_s) < UNNAMED_PATIENCE_S:
            raise errors.Unavailable(f"{crash.id}: no pod {crash.raw['podUID']} on this node yet")
        self._asked_since_s.pop(crash.id)
        _log.warning("no pod %s on this node: %s goes to _host", crash.raw["podUID"], crash.id)
        return unnamed(crash, self._node)

    async def _of_namespace(
        self, api: apis.Requests, crash: records.CrashRecord
    ) -> records.CrashRecord:
        """A confirmed `crash` with its namespace's uid: a later one may have the same name."""
        if crash.raw["capture"]["attribution"] != "api":
            return crash
        path = f"/api/v1/namespaces/{urllib.parse.quote(crash.raw['namespace'], safe='')}"
        try:
            _, found = await api.request("GET", path, timeout_s=CONFIRM_TIMEOUT_S)
        except errors.CoredumpdError as error:
            _log.warning("%s is shipped without its namespace's uid: %s", crash.id, error)
            return crash
        return records.CrashRecord({**crash.raw, "namespaceUID": found["metadata"]["uid"]})

    async def _pod(self, api: apis.Requests, crash: records.CrashRecord) -> dict[str, Any]:
        namespace, name = (
            urllib.parse.quote(crash.raw[field], safe="") for field in ("namespace", "podName")
        )
        path = f"/api/v1/namespaces/{namespace}/pods/{name}"
        _, pod = await api.request("GET", path, timeout_s=CONFIRM_TIMEOUT_S)
        return dict(pod)

    async def _pods_of_node(self, api: apis.Requests) -> Iterable[dict[str, Any]]:
        query = {"fieldSelector": f"spec.nodeName={self._node}"}
        _, pods = await api.request("GET", "/api/v1/pods", query=query)
        return list(pods["items"])


def confirmed(crash: records.CrashRecord, pod: dict[str, Any]) -> records.CrashRecord:
    """`crash` with what the API says of `pod`, when it is the very pod; else `crash` as it is."""
    if crash.raw["podUID"] not in pods.uids(pod):
        return crash  # another pod took the name; the crashed one is gone
    status = pods.container_status(pod, crash.raw["containerID"])
    owners = pod["metadata"].get("ownerReferences") or []
    owner = next((one for one in owners if one.get("controller")), None)
    added = {
        "podUID": pod["metadata"]["uid"],
        "podLabels": pod["metadata"].get("labels") or {},
        "owner": {"kind": owner["kind"], "name": owner["name"]} if owner else None,
        "restartCount": status.get("restartCount") if status else None,
        "capture": {**crash.raw["capture"], "attribution": "api"},
    }
    return records.CrashRecord({**crash.raw, **added})


def named(crash: records.CrashRecord, pod: dict[str, Any]) -> records.CrashRecord | None:
    """`crash`, known by uid and container id alone, named after `pod`; None if it is another's."""
    status = pods.container_status(pod, crash.raw["containerID"])
    if crash.raw["podUID"] not in pods.uids(pod) or status is None:
        return None
    names = {
        "namespace": pod["metadata"]["namespace"],
        "podName": pod["metadata"]["name"],
        "container": status["name"],
        "image": status.get("image"),
    }
    return confirmed(records.CrashRecord({**crash.raw, **names}), pod)


def unnamed(crash: records.CrashRecord, node: str | None) -> records.CrashRecord:
    """`crash` where only cluster-wide roles see it: nobody can say whose it is any more."""
    host = {"namespace": naming.HOST_NAMESPACE, "node": crash.raw.get("node") or node}
    return records.CrashRecord({**crash.raw, **host})
