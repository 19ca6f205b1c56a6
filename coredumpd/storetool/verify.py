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
    store: interface.Store,
    key: layout.DumpKey,
    place: survey.Place,
    *,
    quick: bool,
    decompress: bool,
) -> list[survey.Finding]:
    """The problems of the dump `key` in `place`; none if it is whole, or was deleted meanwhile.

    `quick` does not read the core; `decompress` verifies the kernel's CRC-32, too.
    """
    try:
        record = store.read_record(key)
        problems = list(_differences(store, key, place, record, quick, decompress))
    except errors.NotFound:
        return []
    except errors.BadRecord as error:
        return [survey.Finding("bad-record", place.path, str(error))]
    except errors.StorageError as error:
        return [survey.Finding("unreadable", place.path, str(error))]
    return problems


def _differences(
    store: interface.Store,
    key: layout.DumpKey,
    place: survey.Place,
    record: records.CrashRecord,
    quick: bool,
    decompress: bool,
) -> Iterator[survey.Finding]:
    try:
        recorded_key = record.key()
    except errors.Invalid as error:
        yield survey.Finding("wrong-place", place.path, str(error))
    else:
        if recorded_key != key:
            yield survey.Finding("wrong-place", place.path, f"its record says {recorded_key}")
    size = place.files[survey.CORE].size
    if size != record.stored_size:
        detail = f"core.gz is {size} bytes, not {record.stored_size}"
        yield survey.Finding("wrong-size", place.path, detail)
    elif not quick:
        decompress = decompress or record.stored_crc32 is None
        yield from _crc_problems(store, key, place, record, decompress)


def _crc_problems(
    store: interface.Store,
    key: layout.DumpKey,
    place: survey.Place,
    record: records.CrashRecord,
    decompress: bool,
) -> Iterator[survey.Finding]:
    expected = record.stored_crc32
    crc32 = 0
    content = _Content() if decompress else None
    with contextlib.closing(store.open_core(key)) as core:
        for offset in range(0, core.size, _CHUNK_BYTES):
            chunk = core.read_at(offset, _CHUNK_BYTES)
            crc32 = zlib.crc32(chunk, crc32)
            if content is not None:
                content.feed(chunk)
    if expected is not None and f"{crc32:08x}" != expected:
        detail = f"core.gz has CRC-32 {crc32:08x}, not {expected}"
        yield survey.Finding("bad-crc", place.path, detail)
    elif content is not None and (problem := content.problem(record)) is not None:
        yield survey.Finding("bad-crc", place.path, problem)


class _Content:
    """Size and CRC-32 of a core, from its gzip members as they are read; memory is bounded."""

    def __init__(self) -> None:
        self._reader = reader.Reader()
        self._problem: str | None = None

    def feed(self, data: bytes) -> None:
        """Take the next bytes of core.gz."""
        if self._problem is not None:
            return
        try:
            self._reader.count(data)
        except reader.DamagedError as error:
            self._problem = f"core.gz does not decompress: {error}"

    def problem(self, record: records.CrashRecord) -> str | None:
        """The difference between content and record; None if there is none."""
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
