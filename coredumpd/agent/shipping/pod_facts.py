"""Facts that a record takes from the API's pod, within bounds, if that pod crashed. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from coredumpd import errors
from coredumpd.formats import annotations as rules
from coredumpd.formats import names
from coredumpd.formats import record as records
from coredumpd.kube import pods

LABELS_MAX = 64
LABELS_BYTES_MAX = 16 * 1024  # of names and values together
_KIND_CHARS_MAX = 63
_IMAGE_CHARS_MAX = 1024


def is_crashed(record: records.CrashRecord, pod: Mapping[str, Any]) -> bool:
    """Is `pod` the pod that crashed?

    By its uid, which the API gave it. Or it is the mirror of the static pod that crashed: then the
    uid is an annotation that anybody may write, and the proof is that the runtime recorded this
    namespace and this name for that uid. A record without names is never a static pod's.
    """
    meta = pod["metadata"]
    if record.pod_uid == meta["uid"]:
        return True
    named = (record.namespace, record.pod_name) == (meta["namespace"], meta["name"])
    return named and record.pod_uid is not None and record.pod_uid == pods.static_uid(dict(pod))


def confirmed(
    record: records.CrashRecord, pod: dict[str, Any], node: str | None
) -> records.CrashRecord:
    """`record` completed from `pod`, which crashed.

    Raises BadRecord for a record that contradicts the API: a pod of another node or name.
    """
    meta = pod["metadata"]
    place = (pod.get("spec") or {}).get("nodeName")
    if node is not None and place != node:
        raise errors.BadRecord(f"pod {meta['namespace']}/{meta['name']} is not on this node")
    if (record.namespace, record.pod_name) != (meta["namespace"], meta["name"]):
        own = f"{record.namespace}/{record.pod_name}"
        raise errors.BadRecord(f"pod {meta['uid']} is not {own}, as the record says")
    status = pods.container_status(pod, record.container_id)
    labels, cut = bounded_labels(meta.get("labels") or {})
    record = records.pinned(record, rules.keeps(rules.ours(meta)))
    count = status.get("restartCount") if status else None
    kind = pods.container_kind(pod, record.container)
    facts: dict[str, Any] = {"podLabels": labels} | ({"podLabelsCut": cut} if cut else {})
    facts |= {"containerKind": kind} if kind else {}
    return record.with_(
        podUID=meta["uid"],
        owner=_owner(meta.get("ownerReferences") or []),
        restartCount=count if isinstance(count, int) else None,
        capture={**record.raw["capture"], "attribution": "api"},
        **facts,
    )


def named(
    record: records.CrashRecord, pod: dict[str, Any], node: str | None
) -> records.CrashRecord | None:
    """`record`, which has only a uid and a container id, named after `pod`; None if not its pod.

    Without a container id it crashed in the pod's own cgroup: in the pod's sandbox.
    """
    status = pods.container_status(pod, record.container_id)
    if record.container_id is None:
        status = {"name": names.SANDBOX}
    if record.pod_uid != pod["metadata"]["uid"] or status is None:
        return None
    image = status.get("image")
    completed = record.with_(
        namespace=pod["metadata"]["namespace"],
        podName=pod["metadata"]["name"],
        container=status["name"],
        image=image[:_IMAGE_CHARS_MAX] if isinstance(image, str) else None,
    )
    return confirmed(completed, pod, node)


def bounded_labels(labels: Mapping[str, str]) -> tuple[dict[str, str], int]:
    """The first labels by name that fit, and how many do not."""
    kept: dict[str, str] = {}
    size = 0
    for name in sorted(labels):
        size += len(name.encode()) + len(str(labels[name]).encode())
        if len(kept) >= LABELS_MAX or size > LABELS_BYTES_MAX:
            break
        kept[name] = str(labels[name])
    return kept, len(labels) - len(kept)


def unnamed(record: records.CrashRecord, node: str | None) -> records.CrashRecord:
    """`record` in the host's namespace, which only cluster-wide roles see: its pod is unknown."""
    place = record.raw.get("node") or node
    return record.with_(namespace=names.HOST_NAMESPACE, namespaceUID=None, node=place)


def _owner(references: list[Any]) -> dict[str, str] | None:
    owner = next((one for one in references if one.get("controller")), None)
    if owner is None or not names.is_dns_subdomain(str(owner["name"])):
        return None
    return {"kind": str(owner["kind"])[:_KIND_CHARS_MAX], "name": str(owner["name"])}
