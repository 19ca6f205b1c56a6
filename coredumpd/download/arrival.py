"""The files of a dump while they are received: verified as they come, put in place at the end.

Tested in: tests/unit/download/test_directory.py
"""

from __future__ import annotations

import contextlib
import os

from coredumpd import durable, errors
from coredumpd.download import space, sparse, unpack
from coredumpd.formats import record as records

PART = ".part"


class Arrival:
    """Receives the dump `id` of these `sizes` into `directory`. Nothing is sent beyond them."""

    def __init__(
        self,
        directory: int,
        id: str,
        sizes: space.Sizes,
        guard: space.Guard,
        stack: contextlib.ExitStack,
    ) -> None:
        self._directory = directory
        self._id = id
        self._sizes = sizes
        self._guard = guard
        self._stack = stack
        self._files: dict[str, sparse.SparseFile] = {}
        self._record: records.CrashRecord | None = None

    def begin(self, name: str, size: int) -> sparse.SparseFile:
        """The sink of a file, for `unpack.Unpacker`. Raises StorageError for a file no dump has.

        The record comes first: it and the API must agree on the core that follows.
        """
        if name in self._files or (name == unpack.META and size > records.RECORD_BYTES_MAX):
            raise errors.StorageError("what came is no archive of one dump")
        if name != unpack.META:
            self._record = self._expect(name, size)
        self._files[name] = new_file(self._directory, name, size, self._guard, self._stack)
        return self._files[name]

    def end(self) -> records.CrashRecord:
        """Verify the files and put them in place, the record last. Raises StorageError."""
        record = self._record
        if record is None:
            raise errors.StorageError("what came is another dump, or none")
        core = record.core_name
        file = self._files[core]
        if file.content != record.content:
            size, crc32 = file.content
            expected = "{} bytes with CRC-32 {}".format(*record.content)
            raise errors.StorageError(
                f"{size} bytes with CRC-32 {crc32} came; it should be {expected}"
            )
        publish(self._directory, core, file)
        publish(self._directory, unpack.META, self._files[unpack.META])
        return record

    def _expect(self, name: str, size: int) -> records.CrashRecord:
        """The record, if it announces a file of that name and size. Raises StorageError."""
        meta = self._files.get(unpack.META)
        if meta is None:
            raise errors.StorageError("what came is no archive of one dump")
        meta.end()
        record = records.CrashRecord.parse(_read(self._directory, unpack.META + PART))
        if record.id != self._id or name != record.core_name:
            raise errors.StorageError("what came is another dump, or none")
        if size != record.content[0]:
            raise errors.StorageError(
                f"a core of {size} bytes came; it should be {record.content[0]} bytes"
            )
        if space.Sizes.parse(record.raw["core"]) != self._sizes:
            raise errors.StorageError(
                "meta.json and the listing of dumps differ in the core's size"
            )
        return record


def new_file(
    directory: int, name: str, size_max: int, guard: space.Guard, stack: contextlib.ExitStack
) -> sparse.SparseFile:
    """A new file that `publish` renames to `name`; removed in the end if it was not."""
    part = name + PART
    durable.unlink(part, directory)  # of a killed download
    descriptor = durable.create_file(part, directory)
    stack.callback(os.close, descriptor)
    stack.callback(durable.unlink, part, directory)
    return sparse.SparseFile(descriptor, size_max, guard.spend)


def publish(directory: int, name: str, file: sparse.SparseFile) -> None:
    """Complete the file and give it its name. Raises OSError."""
    file.end()
    os.rename(name + PART, name, src_dir_fd=directory, dst_dir_fd=directory)


def _read(directory: int, name: str) -> bytes:
    with os.fdopen(durable.open_regular(name, directory), "rb") as file:
        return file.read(records.RECORD_BYTES_MAX + 1)
