"""Dumps made by hand, for the tests of what comes after the capture."""

from __future__ import annotations

import gzip
import io
import os
import zlib
from pathlib import Path
from typing import Any

from coredumpd.formats import layout, names
from coredumpd.formats import record as records
from coredumpd.spool import owner

POD_UID = "0a1b2c3d-1111-2222-3333-444455556666"


def document(id: str = "app-20260102t030405z-7-00ff", core: bytes = b"core", **changes: Any) -> Any:
    """A whole meta.json of a crash in the pod default/web, of `core` as `stored` packs it."""
    return {
        "version": 1,
        "id": id,
        "time": "2026-01-02T03:04:05.000Z",
        "node": "node1",
        "kernel": "6.18.0",
        "boot": {"id": "b007"},
        "namespace": "default",
        "namespaceUID": None,
        "podName": "web",
        "podUID": "1234-5678",
        "container": "app",
        "containerID": "c" * 64,
        "image": "local/app:1",
        "process": {"pid": 7, "comm": "app", "exe": "/bin/app"},
        "signal": {"number": 11, "name": "SIGSEGV"},
        "core": {
            "size": len(core),
            "storedSize": len(stored(core)),
            "crc32": f"{zlib.crc32(core):08x}",
            "truncated": {"is": False, "reason": None, "limit": None},
            "members": 1,
        },
        "capture": {"mode": "pipe", "attribution": "runtime"},
    } | changes


def stored(core: bytes) -> bytes:
    return gzip.compress(core, mtime=0)


def crash(id: str = "app-20260102t030405z-7-00ff", **changes: Any) -> records.CrashRecord:
    return records.CrashRecord(document(id, **changes))


def spooled(
    spool: Path,
    id: str,
    core: bytes = b"core",
    *,
    true_owner: dict[str, Any] | None = None,
    **changes: Any,
) -> Path:
    """A complete entry of `spool` (made 0700), appearing by rename as a handler does it.

    With `true_owner`, the handler had marked it with these fields before it wrote the record.
    """
    spool.mkdir(mode=0o700, exist_ok=True)
    part = spool / f"{id}.part"
    part.mkdir(mode=0o700)
    (part / "core.gz").write_bytes(stored(core))
    record = crash(id, core=core, **changes)
    (part / "meta.json").write_bytes(record.encode())
    if true_owner is not None:
        directory = os.open(part, os.O_RDONLY)
        owner.mark(directory, record.with_(**true_owner))
        os.close(directory)
    return part.rename(spool / id)


def make(
    content: bytes = b"\x7fELF core",
    *,
    namespace: str = "team-a",
    pod_uid: str = POD_UID,
    container: str = "app",
    exe: str = "crasher",
    time_s: int = 1_790_000_000,
    pid: int = 4242,
    **fields: Any,
) -> tuple[layout.DumpKey, records.CrashRecord, io.BytesIO]:
    """A dump of `content` in the pod web-0: its key, its record and its stored bytes."""
    changes: dict[str, Any] = {
        "time": "2026-09-21T14:13:20.000Z",
        "namespace": namespace,
        "namespaceUID": f"{namespace}-uid",
        "podName": "web-0",
        "podUID": pod_uid,
        "container": container,
        "process": {"pid": pid, "comm": exe, "exe": f"/bin/{exe}"},
    }
    id = names.make_id(exe, time_s, pid, zlib.crc32(content))
    raw = document(id, content, **changes | fields)
    entry = records.CrashRecord.parse(records.CrashRecord(raw).encode())
    return entry.key(), entry, io.BytesIO(stored(content))
