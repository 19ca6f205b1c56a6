"""Reading a dump to see whether it is what its record says."""

from __future__ import annotations

import contextlib
import zlib
from collections.abc import Iterator

from coredumpd import errors
from coredumpd.formats import layout
from coredumpd.formats import record as records
from coredumpd.gzipio import reader
from coredumpd.store import interface
from coredumpd.storetool import survey

_CHUNK_BYTES = 1024 * 1024


def dump(
    where: interface.Store,
    key: layout.DumpKey,
    place: survey.Place,
    *,
    quick: bool,
    decompress: bool,
) -> list[survey.Finding]:
    """What is wrong with the dump `key` in `place`; empty when it is whole, or deleted meanwhile.

    `quick` does not read the core; `decompress` verifies the kernel's CRC-32, too.
    """
    try:
        entry = where.read_record(key)
        problems = list(_against(where, key, place, entry, quick, decompress))
    except errors.NotFound:
        return []
    except errors.BadRecord as error:
        return [survey.Finding("bad-record", place.path, str(error))]
    except errors.StorageError as error:
        return [survey.Finding("unreadable", place.path, str(error))]
    return problems


def _against(
    where: interface.Store,
    key: layout.DumpKey,
    place: survey.Place,
    entry: records.CrashRecord,
    quick: bool,
    decompress: bool,
) -> Iterator[survey.Finding]:
    try:
        placed = entry.key()
    except errors.Invalid as error:
        yield survey.Finding("wrong-place", place.path, str(error))
    else:
        if placed != key:
            yield survey.Finding("wrong-place", place.path, f"its record says {placed}")
    said, there = entry.raw["core"]["storedSize"], place.files[survey.CORE].size
    if said != there:
        yield survey.Finding("wrong-size", place.path, f"core.gz is {there} bytes, not {said}")
    elif not quick:
        expected = entry.raw["core"].get("storedCrc32")
        yield from _crcs(where, key, place, entry, expected, decompress or expected is None)


def _crcs(
    where: interface.Store,
    key: layout.DumpKey,
    place: survey.Place,
    entry: records.CrashRecord,
    expected: str | None,
    decompress: bool,
) -> Iterator[survey.Finding]:
    stored = 0
    kernel = _Decompressed() if decompress else None
    with contextlib.closing(where.open_core(key)) as core:
        for offset in range(0, core.size, _CHUNK_BYTES):
            chunk = core.read_at(offset, _CHUNK_BYTES)
            stored = zlib.crc32(chunk, stored)
            if kernel is not None:
                kernel.feed(chunk)
    if expected is not None and f"{stored:08x}" != expected:
        detail = f"core.gz has CRC-32 {stored:08x}, not {expected}"
        yield survey.Finding("bad-crc", place.path, detail)
    elif kernel is not None and (problem := kernel.against(entry)) is not None:
        yield survey.Finding("bad-crc", place.path, problem)


class _Decompressed:
    """Size and CRC-32 of gzip members as they arrive, however much they expand to."""

    def __init__(self) -> None:
        self._reader = reader.Reader()
        self._problem: str | None = None

    def feed(self, data: bytes) -> None:
        """The next bytes."""
        if self._problem is not None:
            return
        try:
            self._reader.count(data)
        except reader.DamagedError as error:
            self._problem = f"core.gz does not decompress: {error}"

    def against(self, record: records.CrashRecord) -> str | None:
        """How the content differs from the record; None if it does not."""
        if self._problem is not None:
            return self._problem
        whole = self._reader.whole.members and not self._reader.cut
        if not whole and not record.truncated:
            return "core.gz ends in the middle of a gzip member"
        size, crc32 = record.content
        actual = f"{self._reader.crc32:08x}"
        if (self._reader.size, actual) != (size, crc32):
            return (
                f"decompressed it is {self._reader.size} bytes with CRC-32 {actual},"
                f" not {size} with {crc32}"
            )
        return None
