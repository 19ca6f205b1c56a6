"""The core and the index of a stored dump, as another store's commit takes them."""

from __future__ import annotations

import contextlib
import io
import zlib
from typing import Any, Protocol

from coredumpd import errors
from coredumpd.formats import core_index, layout
from coredumpd.formats import record as records
from coredumpd.store import interface

_BUFFER_BYTES = 1024 * 1024
_READ_BYTES = 256 * 1024


class Files(Protocol):
    """The part of `interface.Store` that reading an index needs."""

    def open_file(self, path: str) -> interface.Core: ...


def index(
    store: Files, key: layout.DumpKey, record: records.CrashRecord
) -> core_index.Index | None:
    """The index of the dump `key` with its `record`; None where it has none.

    Raises BadRecord for one that is missing, damaged or of another core, StorageError.
    """
    if record.index is None:
        return None
    try:
        file = store.open_file(key.path(layout.INDEX))
    except errors.NotFound:
        return core_index.of_record(record, None)
    with contextlib.closing(file):
        size = min(file.size, core_index.BYTES_MAX + 1)
        data = bytearray()
        while len(data) < size and (piece := file.read_at(len(data), _READ_BYTES)):
            data += piece
    return core_index.of_record(record, bytes(data))


def verified(core: interface.Core, crc32: str | None) -> io.BufferedReader:
    """`core` as a file, whose end raises StorageError if its CRC-32 is not `crc32` (8 hex digits).

    A commit computes the CRC-32 anew: without this check it would make rotten bytes look verified.
    """
    return io.BufferedReader(_Raw(core, crc32), _BUFFER_BYTES)


class _Raw(io.RawIOBase):
    def __init__(self, core: interface.Core, crc32: str | None) -> None:
        self._core = core
        self._expected = crc32
        self._offset = self._crc = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to the start, as a commit that tries again does, or stay, to learn the offset."""
        if (offset, whence) == (0, io.SEEK_CUR):
            return self._offset
        if (offset, whence) != (0, io.SEEK_SET):
            raise io.UnsupportedOperation("only back to the start")
        self._offset = self._crc = 0
        return 0

    def readinto(self, buffer: Any) -> int:
        """See `io.RawIOBase.readinto`. Raises StorageError for bytes that do not verify."""
        data = self._core.read_at(self._offset, len(buffer))
        buffer[: len(data)] = data
        self._offset += len(data)
        self._crc = zlib.crc32(data, self._crc)
        if self._offset == self._core.size and self._expected not in (None, f"{self._crc:08x}"):
            raise errors.StorageError(
                f"core.gz has CRC-32 {self._crc:08x}, not {self._expected}; not copied"
            )
        return len(data)
