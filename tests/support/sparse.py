"""Cores with holes, as a handler stores them: core.gz holds the data alone, core.index says where.

Nothing here grows with the holes: a core of 64 GiB costs as much as its data.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from coredumpd.formats import core_index, layout
from coredumpd.formats import record as records
from coredumpd.gzipio import member, zeros
from support import dumps

MEMBER_BYTES = 1024 * 1024
Made = tuple[layout.DumpKey, records.CrashRecord, io.BytesIO, core_index.Index]


def pack(
    parts: Mapping[int, bytes],
    core_size: int,
    order: Iterable[int] | None = None,
    member_bytes: int = MEMBER_BYTES,
) -> tuple[bytes, core_index.Index, int]:
    """core.gz, its index and the core's CRC-32.

    `parts`: what the core has at some offsets; all else are holes. `order`: the offsets in the
    order in which they are stored, by default that of the core.
    """
    stored = bytearray()
    entries, crcs = [], []
    for start in sorted(parts) if order is None else order:
        for offset in range(0, len(parts[start]), member_bytes):
            chunk = parts[start][offset : offset + member_bytes]
            data, crc32 = member.compress(chunk)
            entries.append((start + offset, len(chunk), len(stored), len(data)))
            crcs.append((start + offset, len(chunk), crc32))
            stored += data
    index = core_index.build(core_size, entries)
    return bytes(stored), index, zeros.crc32_of_core(sorted(crcs), core_size)


def make(
    parts: Mapping[int, bytes],
    core_size: int,
    order: Iterable[int] | None = None,
    member_bytes: int = MEMBER_BYTES,
    **fields: Any,
) -> Made:
    """As `dumps.make`, of a core with holes, and its index."""
    stored, index, crc32 = pack(parts, core_size, order, member_bytes)
    key, plain, _ = dumps.make(b"sparse %d" % crc32, **fields)
    record = records.with_index(plain, index, crc32, plain.raw["core"]["truncated"])
    return key, record, io.BytesIO(stored), index


def core(parts: Mapping[int, bytes], core_size: int) -> bytes:
    """The whole core, for a small one."""
    whole = bytearray(core_size)
    for offset, data in parts.items():
        whole[offset : offset + len(data)] = data
    return bytes(whole)


def spooled(spool: Path, made: Made) -> Path:
    """The dump as a complete entry of `spool` (made 0700)."""
    _, record, stored, index = made
    spool.mkdir(mode=0o700, exist_ok=True)
    entry = spool / record.id
    entry.mkdir(mode=0o700)
    (entry / "core.gz").write_bytes(stored.getvalue())
    (entry / "core.index").write_bytes(index.data)
    (entry / "meta.json").write_bytes(record.encode())
    return entry
