"""A dump's record as a Coredump object. Pure."""

from __future__ import annotations

import datetime
import re
import uuid
from typing import Any

from coredumpd.formats import crash_loop, layout
from coredumpd.formats import record as records
from coredumpd.server import kinds

_UIDS = uuid.UUID("6f1d7c58-3a43-4c62-9f0e-2c1f0f6a2f51")  # ours alone: names the key space
_NOT_IN_STATUS = ("version", "id", "namespace")
_LABEL_CHARS_MAX = 63
_NOT_LABEL = re.compile(r"[^A-Za-z0-9_.-]+")


def make(key: layout.DumpKey, crash: records.CrashRecord, revision: int) -> dict[str, Any]:
    """The object: named by the dump's id, its `status` what meta.json says."""
    raw = crash.raw
    process, signal = raw["process"], raw["signal"]
    exe = str(process.get("exe") or process.get("comm") or "").rsplit("/", 1)[-1]
    labels = {
        "pod": raw.get("podName"),
        "container": key.container,
        "node": raw.get("node"),
        "signal": signal.get("name") or signal["number"],
        "exe": exe,
    }
    status = _known({name: value for name, value in raw.items() if name not in _NOT_IN_STATUS})
    if isinstance(status.get(crash_loop.FIELD), dict):  # what it was made of is nobody's business
        status[crash_loop.FIELD].pop("folded", None)
    made = bare(key, revision)
    made["metadata"]["creationTimestamp"] = _timestamp(crash)
    made["metadata"]["labels"] = {
        f"{kinds.GROUP}/{name}": label(str(value)) for name, value in labels.items() if value
    }
    # What an operator cannot know from meta.json: the names under which the store has it.
    made["status"] = {**status, "podUID": key.pod_uid, "container": key.container}
    return made


def bare(key: layout.DumpKey, revision: int) -> dict[str, Any]:
    """What the key alone tells: the object of a dump whose record is gone."""
    return {
        "apiVersion": kinds.GROUP_VERSION,
        "kind": kinds.COREDUMP.kind,
        "metadata": {
            "name": key.id,
            "namespace": key.namespace,
            "uid": str(uuid.uuid5(_UIDS, str(key))),
            "resourceVersion": str(revision),
            "creationTimestamp": None,
            "labels": {f"{kinds.GROUP}/container": label(key.container)},
        },
        "status": {"podUID": key.pod_uid, "container": key.container},
    }


def label(text: str) -> str:
    """`text` as a label's value: at most 63 of [A-Za-z0-9_.-], alphanumeric at both ends."""
    plain = _NOT_LABEL.sub("-", text)[:_LABEL_CHARS_MAX]
    return plain.strip("-_.")


def _known(value: Any) -> Any:
    """`value` without the fields that are null: in Kubernetes what is not known is left out."""
    if isinstance(value, dict):
        return {name: _known(field) for name, field in value.items() if field is not None}
    return value


def _timestamp(crash: records.CrashRecord) -> str:
    when = datetime.datetime.fromtimestamp(crash.time_s, datetime.UTC)
    return when.strftime("%Y-%m-%dT%H:%M:%SZ")
