"""A dump's record as a Coredump object. Pure."""

from __future__ import annotations

import base64
import hashlib
import re
import uuid
from typing import Any

from coredumpd import units
from coredumpd.formats import crash_loop, layout
from coredumpd.formats import record as records
from coredumpd.server import kinds

_UIDS = uuid.UUID("6f1d7c58-3a43-4c62-9f0e-2c1f0f6a2f51")  # ours alone: names the key space
_NOT_IN_STATUS = ("version", "id", "namespace")
_LABEL_CHARS_MAX = 63
_LABEL = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?")
_NOT_LABEL = re.compile(r"[^A-Za-z0-9_.-]+")
_HASH_BYTES = 10  # 80 bits, 16 characters of base32
_HASHED = re.compile(r"(?:.*-)?[A-Z2-7]{16}", re.DOTALL)


def make(key: layout.DumpKey, record: records.CrashRecord, revision: int) -> dict[str, Any]:
    """The object: named by the dump's id, its `status` the fields of meta.json."""
    labels = {
        "pod": record.pod_name,
        "container": key.container,
        "node": record.node,
        "signal": record.signal,
        "exe": record.program_name,
    }
    status = _without_nulls(
        {name: value for name, value in record.raw.items() if name not in _NOT_IN_STATUS}
    )
    if isinstance(status.get(crash_loop.FIELD), dict):
        status[crash_loop.FIELD].pop("folded", None)  # ids of dumps that are gone: of no use
    document = bare(key, revision)
    document["metadata"]["creationTimestamp"] = units.timestamp(record.time_s)
    document["metadata"]["labels"] = {
        f"{kinds.GROUP}/{name}": label(value) for name, value in labels.items() if value
    }
    # The store's own names for pod and container, which for host crashes meta.json does not have.
    document["status"] = {**status, "podUID": key.pod_uid, "container": key.container}
    return document


def bare(key: layout.DumpKey, revision: int) -> dict[str, Any]:
    """The object as far as the key tells it, for a dump whose record is gone."""
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
    """`text` as a label's value: at most 63 of [A-Za-z0-9_.-], alphanumeric at both ends.

    No two texts share a value. A text that is no value itself is cut and ends in `-` and a hash of
    the whole. The hash is in capitals, which no Kubernetes name has: no pod can be named so that
    its label is another pod's. A text that looks as if it ended in such a hash gets one, too.
    """
    if _LABEL.fullmatch(text) and not _HASHED.fullmatch(text):
        return text
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:_HASH_BYTES]
    end = base64.b32encode(digest).decode()
    plain = _NOT_LABEL.sub("-", text)[: _LABEL_CHARS_MAX - len(end) - 1].strip("-_.")
    return f"{plain}-{end}" if plain else end


def _without_nulls(value: Any) -> Any:
    """`value` without the fields that are null: in Kubernetes what is not known is left out."""
    if isinstance(value, dict):
        return {name: _without_nulls(field) for name, field in value.items() if field is not None}
    return value
