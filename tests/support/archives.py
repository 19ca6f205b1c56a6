"""Dumps held in memory: what a store would hand to the archive."""

from __future__ import annotations

import gzip
import zlib

from coredumpd.archive import plan
from coredumpd.formats import layout, names
from coredumpd.formats import record as records


class MemoryCore:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self.size = len(data)
        self.closed = False

    def read_at(self, offset: int, size: int) -> bytes:
        return self._data[offset : offset + min(size, 1000)]  # short reads are allowed

    def close(self) -> None:
        self.closed = True


class MemoryStore:
    def __init__(self) -> None:
        self.cores: dict[layout.DumpKey, bytes] = {}

    def add(
        self, container: str, core: bytes, time_s: int = 1_700_000_000, members: int = 1
    ) -> plan.Dump:
        size = max(len(core) // members, 1)
        starts = range(0, max(len(core), 1), size)
        stored = b"".join(gzip.compress(core[start : start + size]) for start in starts)
        return self.add_stored(container, stored, len(core), zlib.crc32(core), time_s)

    def add_stored(
        self, container: str, stored: bytes, size: int, crc: int, time_s: int
    ) -> plan.Dump:
        import datetime

        id = names.make_id("app", time_s, len(self.cores) + 1, 7)
        key = layout.DumpKey("shop", "0c7f0a52-1111", container, id)
        when = datetime.datetime.fromtimestamp(time_s, datetime.UTC)
        raw = {
            "version": 1,
            "id": id,
            "time": when.strftime("%Y-%m-%dT%H:%M:%S.000Z"),
            "namespace": "shop",
            "podUID": "0c7f0a52-1111",
            "container": container,
            "process": {"pid": 1},
            "signal": {"number": 11},
            "core": {
                "size": size,
                "storedSize": len(stored),
                "crc32": f"{crc:08x}",
                "truncated": {"is": False},
            },
            "capture": {"attribution": "api"},
        }
        self.cores[key] = stored
        return plan.Dump(
            key, records.CrashRecord.parse(records.CrashRecord(raw).encode()), len(stored)
        )

    def open_core(self, key: layout.DumpKey) -> MemoryCore:
        return MemoryCore(self.cores[key])
