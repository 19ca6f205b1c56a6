"""Reading a dump to see whether it is what its record says."""

from __future__ import annotations

import contextlib
import zlib
from collections.abc import Iterator

from coredumpd import errors
from coredumpd.formats import core_index, layout
from coredumpd.formats import record as records
from coredumpd.gzipio import check, reader
from coredumpd.store import interface
from coredumpd.store import reader as store_reader
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
    index = None
    try:
        index = store_reader.index(store, key, record)
    except errors.BadRecord as error:
        yield survey.Finding("bad-index", place.path, str(error))
    size = place.files[survey.CORE].size
    if size != record.stored_size:
        detail = f"core.gz is {size} bytes, not {record.stored_size}"
        yield survey.Finding("wrong-size", place.path, detail)
    elif not quick:
        decompress = decompress or record.stored_crc32 is None
        yield from _crc_problems(store, key, place, record, index, decompress)


def _crc_problems(
    store: interface.Store,
    key: layout.DumpKey,
    place: survey.Place,
    record: records.CrashRecord,
    index: core_index.Index | None,
    decompress: bool,
) -> Iterator[survey.Finding]:
    expected = record.stored_crc32
    crc32 = 0
    content = _Content(record, index) if decompress else None
    with contextlib.closing(store.open_core(key)) as core:
        for offset in range(0, core.size, _CHUNK_BYTES):
            chunk = core.read_at(offset, _CHUNK_BYTES)
            crc32 = zlib.crc32(chunk, crc32)
            if content is not None:
                content.feed(chunk)
    if expected is not None and f"{crc32:08x}" != expected:
        detail = f"core.gz has CRC-32 {crc32:08x}, not {expected}"
        yield survey.Finding("bad-crc", place.path, detail)
    elif content is not None and (problem := content.problem()) is not None:
        yield survey.Finding("bad-crc", place.path, problem)


class _Content:
    """The problems of a core, from its gzip members as they are read; memory is bounded."""

    def __init__(self, record: records.CrashRecord, index: core_index.Index | None) -> None:
        self._content = check.Content(record, index)
        self._problem: str | None = None

    def feed(self, data: bytes) -> None:
        """Take the next bytes of core.gz."""
        if self._problem is not None:
            return
        try:
            self._content.feed(data)
        except reader.DamagedError as error:
            self._problem = f"core.gz does not decompress: {error}"

    def problem(self) -> str | None:
        """The difference between content and record; None if there is none."""
        if self._problem is not None:
            return self._problem
        return self._content.problems() or None
