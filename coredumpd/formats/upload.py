"""An upload: how an agent sends a dump to a coredumpd server over HTTPS.

`PUT /agent/v1/dumps/<namespace>/<podUID>/<container>/<id>`. The body is the length of the record
(four bytes, big endian), the record as meta.json holds it, core.index if the record has one, then
core.gz. The answer is the `core` of the record that the server's store has after the commit; `GET`
of the same path answers it too. Where a quota leaves no room the server keeps the record and cuts
the core: the answer says so, and the dump needs no other try.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from coredumpd import errors
from coredumpd.formats import core_index, crash_loop, layout
from coredumpd.formats import record as records

CONTENT_TYPE = "application/octet-stream"
_PATH = "/agent/v1/dumps"
_KEY_PARTS = ("namespace", "pod_uid", "container", "id")
ROUTE = f"{_PATH}/" + "/".join(f"(?P<{part}>[^/]+)" for part in _KEY_PARTS)
_LENGTH_BYTES = 4
QUOTA = "the namespace's quota is reached: the server kept no core"  # its core.truncated.reason
NO_CORE = crash_loop.NO_CORE  # the core.gz of a dump that the server has cut


def path(key: layout.DumpKey) -> str:
    """Where the dump `key` is sent to and asked for."""
    return f"{_PATH}/{key}"


def parse_key(groups: dict[str, str]) -> layout.DumpKey:
    """The key in a path, from the groups that ROUTE has matched. Raises Invalid."""
    return layout.DumpKey(*(groups[part] for part in _KEY_PARTS))


def head(record: records.CrashRecord) -> bytes:
    """The body up to the first byte of core.gz."""
    encoded = record.encode()
    return len(encoded).to_bytes(_LENGTH_BYTES, "big") + encoded


def index_bytes(record: records.CrashRecord) -> int:
    """The length of core.index in a body, after the record; 0 where it has none. BadRecord."""
    if record.index is None:
        return 0
    size: int = record.index["size"]
    if not 0 < size <= core_index.BYTES_MAX:
        raise errors.BadRecord(f"core.index: {size} bytes; at most {core_index.BYTES_MAX}")
    return size


def parse_head(data: bytes | bytearray) -> tuple[records.CrashRecord, int] | None:
    """The record in the beginning of a body, and the length of its head in bytes.

    None while more of the body is needed. Raises BadRecord.
    """
    if len(data) < _LENGTH_BYTES:
        return None
    length = int.from_bytes(data[:_LENGTH_BYTES], "big")
    if length > records.RECORD_BYTES_MAX:
        raise errors.BadRecord(f"meta.json: {length} bytes; at most {records.RECORD_BYTES_MAX}")
    end = _LENGTH_BYTES + length
    if len(data) < end:
        return None
    return records.CrashRecord.parse(bytes(data[_LENGTH_BYTES:end])), end


@dataclasses.dataclass(frozen=True)
class Answer:
    """The core that the server's store has under a key, as far as the agent needs it."""

    core: dict[str, Any]
    stored_crc32: str | None

    @property
    def is_cut(self) -> bool:
        """Has the server kept the record alone, for want of quota?"""
        truncated = self.core.get("truncated")
        return isinstance(truncated, dict) and truncated.get("reason") == QUOTA

    def has_core_of(self, record: records.CrashRecord) -> bool:
        """Is it the core that `record` describes?"""
        return records.same_core(self.core, record.raw["core"])


def cut(record: records.CrashRecord) -> records.CrashRecord:
    """`record` of a dump whose core the server does not keep: its core.gz is NO_CORE."""
    core = {
        **record.raw["core"],
        "size": 0,
        "storedSize": len(NO_CORE),
        "crc32": "00000000",
        "sparseBytes": 0,
        "truncated": {"is": True, "reason": QUOTA, "limit": 0},
        "members": 1,
    }
    for name in records.OF_ONE_CORE:
        core.pop(name, None)
    return record.with_(core=core)


def answer(record: records.CrashRecord) -> dict[str, Any]:
    """The document that the server answers when its store has `record`."""
    core: dict[str, Any] = record.raw["core"]
    return core


def parse_answer(document: dict[str, Any]) -> Answer:
    """Raises ValueError for a document that describes no core."""
    if not isinstance(document.get("size"), int) or not isinstance(document.get("crc32"), str):
        raise ValueError("the answer describes no core: size and crc32 are missing")
    stored_crc32 = document.get("storedCrc32")
    return Answer(document, stored_crc32 if isinstance(stored_crc32, str) else None)
