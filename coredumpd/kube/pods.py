"""Facts of a pod that more than one role needs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

_STATUSES = ("containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses")


def uids(pod: dict[str, Any]) -> set[str]:
    """The uids a pod goes by: the API's, and for a static pod the one the kubelet runs it under.

    A mirror pod has a uid of its own; cgroups and the runtime know the hash of its file (kubelet
    `pkg/kubelet/types/pod_update.go`, ConfigHashAnnotationKey).
    """
    uids = {pod["metadata"]["uid"]}
    annotations = pod["metadata"].get("annotations") or {}
    if "kubernetes.io/config.mirror" in annotations:
        uids.add(annotations.get("kubernetes.io/config.hash", ""))
    return uids


def container_status(pod: dict[str, Any], container_id: str | None) -> dict[str, Any] | None:
    """The container status that names `container_id`, running, dead or dead before a restart."""
    for status in _container_statuses(pod):
        states = [status, *(status.get(name) or {} for name in ("state", "lastState"))]
        ids = [state.get("containerID") for state in states]
        ids += [(state.get("terminated") or {}).get("containerID") for state in states]
        if container_id and any(str(id).rpartition("//")[2] == container_id for id in ids if id):
            return status
    return None


def _container_statuses(pod: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for field in _STATUSES:
        yield from (pod.get("status") or {}).get(field) or []
