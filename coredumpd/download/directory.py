"""A downloaded dump: `<container>/<id>/{meta.json,core}`; each file is complete or absent.

A sealed core that is not decrypted yet is `core.gz.age`. Every call blocks. Both directories, and
each file that is continued or believed, belong to the caller, and others may not write to them;
all work is done relative to their descriptors, so nobody can put others in their place.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from coredumpd import durable, errors, ownership, sealing
from coredumpd.download import arrival, space, unpack
from coredumpd.formats import layout
from coredumpd.formats import record as records

_ARCHIVE = "archive.tar.gz.part"
_READ_BYTES = 1024 * 1024
_REMEDY = "remove it, or name another directory with --output"


class DumpDirectory:
    """The directory of one dump; created when the first file is put into it.

    Each call raises Untrusted for a directory or file that is not the caller's alone.
    """

    def __init__(self, output: Path, key: layout.DumpKey) -> None:
        self.path = output / key.container / key.id
        self._output = output
        self._id = key.id

    def record(self) -> records.CrashRecord | None:
        """The record in the directory; None if there is none, or it is another dump's."""
        try:
            with self._file(unpack.META) as file:
                record = records.CrashRecord.parse(file.read(records.RECORD_BYTES_MAX + 1))
        except (FileNotFoundError, errors.BadRecord):
            return None
        return record if record.id == self._id else None

    def has_core(self, record: records.CrashRecord) -> bool:
        """Is the core there, with the size and CRC-32 that its record says?"""
        return self._holds(unpack.CORE, (record.raw["core"]["size"], record.raw["core"]["crc32"]))

    def has_sealed(self, record: records.CrashRecord) -> bool:
        """Is the sealed core there, with the size and CRC-32 that its record says?"""
        return record.sealed is not None and self._holds(record.core_name, record.content)

    def _holds(self, name: str, content: tuple[int, str]) -> bool:
        size = crc = 0
        try:
            with self._file(name) as file:
                if os.fstat(file.fileno()).st_size != content[0]:
                    return False
                while chunk := file.read(_READ_BYTES):
                    size, crc = size + len(chunk), zlib.crc32(chunk, crc)
        except FileNotFoundError:
            return False
        return (size, f"{crc:08x}") == content

    @contextlib.contextmanager
    def archive(self) -> Iterator[Archive]:
        """The archive so far, kept for the next run. Raises Conflict while another run has it."""
        with self._opened(create=True) as directory:
            descriptor = self._open_archive(directory)
            with os.fdopen(descriptor, "r+b", 0) as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError as error:
                    raise errors.Conflict(
                        f"another download into {self.path} is at work"
                    ) from error
                yield Archive(directory, file)

    def _open_archive(self, directory: int) -> int:
        path = str(self.path / _ARCHIVE)
        try:
            return ownership.open_file(
                path, ownership.SECRET_FILE, _REMEDY, directory=directory, write=True
            )
        except FileNotFoundError:
            return durable.create_file(_ARCHIVE, directory, readable=True)

    @contextlib.contextmanager
    def new_arrival(self, sizes: space.Sizes, guard: space.Guard) -> Iterator[arrival.Arrival]:
        """A dump being received: `Arrival.end` puts its files in place, else they are removed."""
        with self._opened(create=True) as directory, contextlib.ExitStack() as stack:
            yield arrival.Arrival(directory, self._id, sizes, guard, stack)

    @contextlib.contextmanager
    def guard(self, need: int) -> Iterator[space.Guard]:
        """Compares `need` bytes with the space on the directory's disk. Raises NoSpace."""
        with self._opened(create=True) as directory:
            yield space.Guard(directory, str(self.path), need)

    def open_sealed(self, record: records.CrashRecord, keys: Sequence[Any]) -> None:
        """Replace the sealed core by the decrypted one.

        Raises CannotOpen, NoSpace, StorageError.
        """
        content = record.raw["core"]["size"], record.raw["core"]["crc32"]
        need = space.Sizes.parse(record.raw["core"]).allocated
        with (
            self._opened() as directory,
            contextlib.ExitStack() as stack,
            self._file(record.core_name) as file,
        ):
            guard = space.Guard(directory, str(self.path), need if keys else 0)
            core = arrival.new_file(directory, unpack.CORE, content[0], guard, stack)
            sealing.open(file, unpack.opened(record.core_name, core), keys)
            if core.content != content:
                raise errors.StorageError("the core in the age file is not what meta.json says")
            arrival.publish(directory, unpack.CORE, core)
            durable.unlink(record.core_name, directory)

    @contextlib.contextmanager
    def _opened(self, create: bool = False) -> Iterator[int]:
        """The directory's descriptor. Raises FileNotFoundError if it is not there."""
        if create:
            os.makedirs(self._output, mode=0o700, exist_ok=True)
        with contextlib.ExitStack() as stack:
            output = os.open(self._output, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            stack.callback(os.close, output)
            ownership.require_place(str(self._output), output, "--output")
            parent = output
            for path in (self.path.parent, self.path):
                parent = ownership.open_directory(
                    str(path), ownership.DIRECTORY, _REMEDY, parent=parent, create=create
                )
                stack.callback(os.close, parent)
            yield parent

    @contextlib.contextmanager
    def _file(self, name: str) -> Iterator[BinaryIO]:
        """A file that an earlier run left. Raises FileNotFoundError if it is not there."""
        with self._opened() as directory:
            path = str(self.path / name)
            descriptor = ownership.open_file(path, ownership.FILE, _REMEDY, directory=directory)
            with os.fdopen(descriptor, "rb") as file:
                yield file


class Archive:
    """The part of the .tar.gz that is received, in one run or several."""

    def __init__(self, directory: int, file: BinaryIO) -> None:
        self._directory = directory
        self._file = file

    @property
    def size(self) -> int:
        """In bytes."""
        return os.fstat(self._file.fileno()).st_size

    def read(self) -> Iterator[bytes]:
        """The bytes that earlier runs received, from the start."""
        self._file.seek(0)
        while chunk := self._file.read(_READ_BYTES):
            yield chunk

    def write(self, data: bytes) -> None:
        """Append bytes just received. Raises OSError."""
        durable.write_all(self._file.fileno(), data)

    def clear(self) -> None:
        """Drop all of it, to start again."""
        self._file.truncate(0)
        self._file.seek(0)

    def remove(self) -> None:
        """Delete the file: the dump is complete, or does not exist any more."""
        durable.unlink(_ARCHIVE, self._directory)
