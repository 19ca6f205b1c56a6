"""A downloaded dump: `<container>/<id>/{meta.json,core}`; each file is complete or absent.

A sealed core that is not decrypted yet is `core.gz.age`. Every call blocks.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from coredumpd import durable, errors, sealing
from coredumpd.download import unpack
from coredumpd.formats import layout
from coredumpd.formats import record as records

_PART = ".part"
_ARCHIVE = "archive.tar.gz.part"
_READ_BYTES = 1024 * 1024
# The files of a killed download are overwritten; a planted link is refused, not replaced.
_NEW = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
_KEPT = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC


class SummedFile:
    """A file being written, with the size and CRC-32 of the bytes written."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.size = self.crc32 = 0

    def write(self, data: bytes) -> None:
        """Append `data`. Raises OSError."""
        durable.write_all(self._file.fileno(), data)
        self.size += len(data)
        self.crc32 = zlib.crc32(data, self.crc32)

    @property
    def content(self) -> tuple[int, str]:
        """As `record.CrashRecord.content`."""
        return self.size, f"{self.crc32:08x}"


class DumpDirectory:
    """The directory of one dump; created when the first file is put into it."""

    def __init__(self, parent: Path, key: layout.DumpKey) -> None:
        self.path = parent / key.container / key.id
        self._id = key.id

    def record(self) -> records.CrashRecord | None:
        """The record in the directory; None if there is none, or it is another dump's."""
        try:
            data = (self.path / unpack.META).read_bytes()
            record = records.CrashRecord.parse(data)
        except (FileNotFoundError, NotADirectoryError, errors.BadRecord):
            return None
        return record if record.id == self._id else None

    def has_core(self, record: records.CrashRecord) -> bool:
        """Is the core there, with the size and CRC-32 that its record says?"""
        return self._holds(unpack.CORE, (record.raw["core"]["size"], record.raw["core"]["crc32"]))

    def has_sealed(self, record: records.CrashRecord) -> bool:
        """Is the sealed core there, with the size and CRC-32 that its record says?"""
        return record.sealed is not None and self._holds(unpack.SEALED, record.content)

    def _holds(self, name: str, content: tuple[int, str]) -> bool:
        size = crc = 0
        try:
            with (self.path / name).open("rb") as file:
                if os.fstat(file.fileno()).st_size != content[0]:
                    return False
                while chunk := file.read(_READ_BYTES):
                    size, crc = size + len(chunk), zlib.crc32(chunk, crc)
        except (FileNotFoundError, NotADirectoryError):
            return False
        return (size, f"{crc:08x}") == content

    @contextlib.contextmanager
    def archive(self) -> Iterator[Archive]:
        """The archive so far, kept for the next run. Raises Conflict while another run has it."""
        self.path.mkdir(parents=True, exist_ok=True)
        path = self.path / _ARCHIVE
        with os.fdopen(os.open(path, _KEPT, 0o600), "r+b", 0) as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise errors.Conflict(f"another download into {self.path} is at work") from error
            yield Archive(path, file)

    @contextlib.contextmanager
    def new_arrival(self) -> Iterator[Arrival]:
        """A dump being received: `Arrival.end` puts its files in place, else they are removed."""
        with contextlib.ExitStack() as stack:
            self.path.mkdir(parents=True, exist_ok=True)
            yield Arrival(self.path, self._id, stack)

    def open_sealed(self, record: records.CrashRecord, keys: Sequence[Any]) -> None:
        """Replace the sealed core by the decrypted one. Raises CannotOpen, StorageError."""
        with contextlib.ExitStack() as stack:
            core = _part(self.path / unpack.CORE, stack)
            members = unpack.Gunzip(core)
            with (self.path / unpack.SEALED).open("rb") as file:
                sealing.open(file, members, keys)
            if core.content != (record.raw["core"]["size"], record.raw["core"]["crc32"]):
                raise errors.StorageError("the core in the age file is not what meta.json says")
            _publish(self.path / unpack.CORE)
        (self.path / unpack.SEALED).unlink()


class Archive:
    """The part of the .tar.gz that is received, in one run or several."""

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self._path = path
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
        self._path.unlink(missing_ok=True)


class Arrival:
    """The files of a dump while they are received."""

    def __init__(self, path: Path, id: str, stack: contextlib.ExitStack) -> None:
        self._path = path
        self._id = id
        self._stack = stack
        self._files: dict[str, SummedFile] = {}

    def begin(self, name: str, size: int) -> SummedFile:
        """The sink of a file, for `unpack.Unpacker`. Raises StorageError for a file no dump has."""
        if name in self._files or (name == unpack.META and size > records.RECORD_BYTES_MAX):
            raise errors.StorageError("what came is no archive of one dump")
        self._files[name] = _part(self._path / name, self._stack)
        return self._files[name]

    def end(self) -> records.CrashRecord:
        """Verify the files and put them in place, the record last. Raises StorageError."""
        files = self._files
        meta = self._path / (unpack.META + _PART)
        record = records.CrashRecord.parse(meta.read_bytes()) if unpack.META in files else None
        core = unpack.SEALED if record is not None and record.sealed else unpack.CORE
        if record is None or set(files) != {unpack.META, core} or record.id != self._id:
            raise errors.StorageError("what came is another dump, or none")
        if files[core].content != record.content:
            size, crc32 = files[core].content
            expected = "{} bytes with CRC-32 {}".format(*record.content)
            raise errors.StorageError(
                f"{size} bytes with CRC-32 {crc32} came; it should be {expected}"
            )
        _publish(self._path / core)
        _publish(self._path / unpack.META)
        return record


def _part(path: Path, stack: contextlib.ExitStack) -> SummedFile:
    """A new file that `_publish` renames to `path`; removed in the end if it was not."""
    part = path.with_name(path.name + _PART)
    stack.callback(part.unlink, missing_ok=True)
    descriptor = os.open(part, _NEW, 0o600)
    return SummedFile(stack.enter_context(os.fdopen(descriptor, "wb", 0)))


def _publish(path: Path) -> None:
    path.with_name(path.name + _PART).rename(path)
