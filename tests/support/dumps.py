"""Small records and cores for tests that need dumps but no crash."""

from __future__ import annotations

import gzip
import io
import zlib
from typing import Any

from coredumpd import record

POD_UID = "0a1b2c3d-1111-2222-3333-444455556666"


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
) -> tuple[record.DumpKey, record.CrashRecord, io.BytesIO]:
    """A dump of `content`: its key, its record and its stored bytes."""
    stored = gzip.compress(content, mtime=0)
    id = record.make_id(exe, time_s, pid, zlib.crc32(content))
    raw: dict[str, Any] = {
        "version": 1,
        "id": id,
        "time": "2026-09-21T14:13:20.000Z",
        "node": "node1",
        "kernel": "6.18.0",
        "boot": {"id": "b007"},
        "namespace": namespace,
        "podName": "web-0",
        "podUID": pod_uid,
        "container": container,
        "containerID": "c0ffee" * 10 + "abcd",
        "image": "local/crasher:1",
        "process": {"pid": pid, "comm": exe, "exe": f"/bin/{exe}"},
        "signal": {"number": 11, "name": "SIGSEGV"},
        "core": {
            "size": len(content),
            "storedSize": len(stored),
            "crc32": f"{zlib.crc32(content):08x}",
            "sparseBytes": 0,
            "truncated": {"is": False, "reason": None},
            "members": 1,
        },
        "capture": {"attribution": "runtime"},
        **fields,
    }
    entry = record.CrashRecord.parse(record.CrashRecord(raw).encode())
    return entry.key(), entry, io.BytesIO(stored)
