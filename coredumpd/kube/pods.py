"""Facts of a pod that more than one role needs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from coredumpd.formats import names, pod_reference
from coredumpd.formats import record as records

# kubelet, pkg/kubelet/types/pod_update.go.
_HASH = "kubernetes.io/config.hash"
_MIRROR = "kubernetes.io/config.mirror"
_SOURCE = "kubernetes.io/config.source"
INIT, EPHEMERAL = "init", "ephemeral"
_STATUSES = ("containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses")
# The field of a pod's spec that has the containers of a kind, None: the ordinary ones.
_LISTS = {None: "containers", INIT: "initContainers", EPHEMERAL: "ephemeralContainers"}


def uids(pod: dict[str, Any]) -> set[str]:
    """The uids a pod may go by: the API's, and a static pod's. The latter needs a further proof."""
    return {pod["metadata"]["uid"]} | ({uid} if (uid := static_uid(pod)) else set())


def static_uid(pod: dict[str, Any]) -> str | None:
    """The uid under which the kubelet runs the static pod whose mirror `pod` seems to be.

    Cgroups and the runtime know a static pod by the hash of its file; its mirror in the API has
    that hash in annotations and belongs to its Node (kubelet `pkg/kubelet/pod/mirror_client.go`).
    Whoever may create pods can write all of this. So the uid proves nothing alone: a caller must
    also compare the mirror's namespace and name with those the runtime recorded for that uid.
    """
    metadata = pod["metadata"]
    annotations = metadata.get("annotations") or {}
    uid = annotations.get(_HASH)
    node = (pod.get("spec") or {}).get("nodeName")
    owned = any(
        isinstance(owner, dict) and owner.get("kind") == "Node" and owner.get("name") == node
        for owner in metadata.get("ownerReferences") or []
    )
    is_mirror = annotations.get(_MIRROR) == uid and annotations.get(_SOURCE) in ("file", "http")
    good = isinstance(uid, str) and names.is_uid(uid) and uid != metadata["uid"]
    return uid if good and is_mirror and node and owned else None


def container_kind(pod: dict[str, Any], name: str | None) -> str | None:
    """INIT or EPHEMERAL if the container `name` is one of those: a pod's names are unique."""
    spec = pod.get("spec") or {}
    for kind in (INIT, EPHEMERAL):
        if any(one.get("name") == name for one in spec.get(_LISTS[kind]) or []):
            return kind
    return None


def field_path(kind: str | None, name: str | None) -> str:
    """The fieldPath of a container, as in the kubelet's Events (pkg/kubelet/container/ref.go)."""
    return f"spec.{_LISTS.get(kind, _LISTS[None])}{{{name}}}"


def reference(record: records.CrashRecord) -> dict[str, Any]:
    """The container that crashed as a core/v1 ObjectReference; of a sandbox, its pod alone."""
    path = field_path(record.container_kind, record.container)
    return pod_reference.make(
        record.namespace,
        record.pod_name,
        record.pod_uid,
        None if record.container == names.SANDBOX else path,
    )


def containers(
    pod: dict[str, Any],
) -> Iterator[tuple[str | None, dict[str, Any], dict[str, Any]]]:
    """Kind, entry of the spec, and status of every container that has a status."""
    spec, status = pod.get("spec") or {}, pod.get("status") or {}
    for (kind, of_spec), of_status in zip(_LISTS.items(), _STATUSES, strict=True):
        own = {one.get("name"): one for one in spec.get(of_spec) or []}
        for one in status.get(of_status) or []:
            yield kind, own.get(one.get("name")) or {"name": one.get("name")}, one


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
