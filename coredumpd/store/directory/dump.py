"""The two files of a dump in a directory store: written durably, read at any offset."""

from __future__ import annotations

import os
import zlib
from typing import BinaryIO

from coredumpd import durable, errors
from coredumpd.formats import layout
from coredumpd.formats import record as records
from coredumpd.store.directory import tree

_CHUNK_BYTES = 1024 * 1024


class CoreFile:
    """See `interface.Core`: one descriptor, read at offsets, so threads need no lock."""

    def __init__(self, descriptor: int, name: str) -> None:
        self._descriptor = descriptor
        self._name = name
        self.size = os.fstat(descriptor).st_size

    def read_at(self, offset: int, size: int) -> bytes:
        """See `interface.Core.read_at`."""
        try:
            return os.pread(self._descriptor, min(size, max(0, self.size - offset)), offset)
        except OSError as error:
            raise errors.StorageError(f"{self._name}: {error.strerror}") from error

    def close(self) -> None:
        """See `interface.Core.close`."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def read_record(dump: int) -> records.CrashRecord:
    """The record in `dump`, a descriptor of its directory. Raises BadRecord, or OSError."""
    with open(tree.open_file(layout.META, dump), "rb") as file:
        return records.CrashRecord.parse(file.read(records.RECORD_BYTES_MAX + 1))


def copy_verified(core: BinaryIO, dump: int, record: records.CrashRecord) -> int:
    """Copy to core.gz, fsync, drop the page cache, read back; returns the CRC-32 of the bytes."""
    size = crc = 0
    with open(tree.create_file(layout.CORE, dump), "w+b", buffering=0) as file:
        while chunk := core.read(_CHUNK_BYTES):
            size, crc = size + len(chunk), zlib.crc32(chunk, crc)
            durable.write_all(file.fileno(), chunk)
        if size != record.stored_size:
            rule = f"core.storedSize says {record.stored_size}"
            raise errors.BadRecord(f"{record.id}: the core is {size} bytes; {rule}")
        os.fsync(file.fileno())
        # So that the bytes read back come from the medium; the node has no other use for its cache.
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        file.seek(0)
        back_size = back_crc = 0
        while chunk := file.read(_CHUNK_BYTES):
            back_size, back_crc = back_size + len(chunk), zlib.crc32(chunk, back_crc)
    if (back_size, back_crc) != (size, crc):
        raise errors.StorageError(
            f"{record.id}: wrote {size} bytes with CRC {crc:08x},"
            f" read back {back_size} with {back_crc:08x}"
        )
    return crc
