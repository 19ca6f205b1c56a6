"""A dump on a person's disk: `<container>/<id>/{meta.json,core}`, each whole or not there.

A sealed core that nobody has opened yet is `core.gz.age`. All of it blocks.
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
# What a killed download left is overwritten; a planted link is refused, not replaced.
_NEW = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
_KEPT = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC


class Summed:
    """A file being written, with the size and CRC-32 of what it has."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.size = self.crc32 = 0

    def write(self, data: bytes) -> None:
        """Raises OSError."""
        durable.write_all(self._file.fileno(), data)
        self.size += len(data)
        self.crc32 = zlib.crc32(data, self.crc32)

    @property
    def content(self) -> tuple[int, str]:
        """As `record.CrashRecord.content`."""
        return self.size, f"{self.crc32:08x}"


class DumpDirectory:
    """The directory of one dump; made when something is put into it."""

    def __init__(self, parent: Path, key: layout.DumpKey) -> None:
        self.path = parent / key.container / key.id
        self._id = key.id

    def noted(self) -> records.CrashRecord | None:
        """The record that is there; None if there is none, or not this dump's."""
        try:
            data = (self.path / unpack.META).read_bytes()
            crash = records.CrashRecord.parse(data)
        except (FileNotFoundError, NotADirectoryError, errors.BadRecord):
            return None
        return crash if crash.id == self._id else None

    def has_core(self, crash: records.CrashRecord) -> bool:
        """Is the core there, and what the kernel sent?"""
        return self._is(unpack.CORE, (crash.raw["core"]["size"], crash.raw["core"]["crc32"]))

    def has_sealed(self, crash: records.CrashRecord) -> bool:
        """Is the sealed core there, as it was sealed?"""
        return crash.sealed is not None and self._is(unpack.SEALED, crash.content)

    def _is(self, name: str, content: tuple[int, str]) -> bool:
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
        """What has come; the next run goes on with it. Raises Conflict while another run does."""
        self.path.mkdir(parents=True, exist_ok=True)
        path = self.path / _ARCHIVE
        with os.fdopen(os.open(path, _KEPT, 0o600), "r+b", 0) as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise errors.Conflict(f"another download into {self.path} is at work") from error
            yield Archive(path, file)

    @contextlib.contextmanager
    def arriving(self) -> Iterator[Arrival]:
        """What is being downloaded; put in place by `Arrival.end`, else removed."""
        with contextlib.ExitStack() as stack:
            self.path.mkdir(parents=True, exist_ok=True)
            yield Arrival(self.path, self._id, stack)

    def open_sealed(self, crash: records.CrashRecord, keys: Sequence[Any]) -> None:
        """Make the core of the sealed core, which then goes. Raises CannotOpen, StorageError."""
        with contextlib.ExitStack() as stack:
            core = _part(self.path / unpack.CORE, stack)
            members = unpack.Gunzip(core)
            with (self.path / unpack.SEALED).open("rb") as file:
                sealing.open(file, members, keys)
            if core.content != (crash.raw["core"]["size"], crash.raw["core"]["crc32"]):
                raise errors.StorageError("the core in the age file is not what meta.json says")
            _publish(self.path / unpack.CORE)
        (self.path / unpack.SEALED).unlink()


class Archive:
    """The bytes of the .tar.gz that have come, of one run or several."""

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self._path = path
        self._file = file

    @property
    def size(self) -> int:
        """In bytes."""
        return os.fstat(self._file.fileno()).st_size

    def read(self) -> Iterator[bytes]:
        """What earlier runs have left, from the start."""
        self._file.seek(0)
        while chunk := self._file.read(_READ_BYTES):
            yield chunk

    def write(self, data: bytes) -> None:
        """Keep what has just come. Raises OSError."""
        durable.write_all(self._file.fileno(), data)

    def clear(self) -> None:
        """None of it is wanted."""
        self._file.truncate(0)
        self._file.seek(0)

    def remove(self) -> None:
        """The dump is there, or never will be."""
        self._path.unlink(missing_ok=True)


class Arrival:
    """The files of a dump on their way."""

    def __init__(self, path: Path, id: str, stack: contextlib.ExitStack) -> None:
        self._path = path
        self._id = id
        self._stack = stack
        self._files: dict[str, Summed] = {}

    def begin(self, name: str, size: int) -> Summed:
        """See `unpack.Unpacker`. Raises StorageError for what no dump has."""
        if name in self._files or (name == unpack.META and size > records.RECORD_BYTES_MAX):
            raise errors.StorageError("what came is no archive of one dump")
        self._files[name] = _part(self._path / name, self._stack)
        return self._files[name]

    def end(self) -> records.CrashRecord:
        """Verify what came and put it in place, the record last. Raises StorageError."""
        files = self._files
        meta = self._path / (unpack.META + _PART)
        crash = records.CrashRecord.parse(meta.read_bytes()) if unpack.META in files else None
        core = unpack.SEALED if crash is not None and crash.sealed else unpack.CORE
        if crash is None or set(files) != {unpack.META, core} or crash.id != self._id:
            raise errors.StorageError("what came is another dump, or none")
        if files[core].content != crash.content:
            size, crc32 = files[core].content
            said = "{} bytes with CRC-32 {}".format(*crash.content)
            raise errors.StorageError(f"{size} bytes with CRC-32 {crc32} came; it should be {said}")
        _publish(self._path / core)
        _publish(self._path / unpack.META)
        return crash


def _part(path: Path, stack: contextlib.ExitStack) -> Summed:
    """A file that becomes `path` by `_publish`, and is gone in the end if it does not."""
    part = path.with_name(path.name + _PART)
    stack.callback(part.unlink, missing_ok=True)
    descriptor = os.open(part, _NEW, 0o600)
    return Summed(stack.enter_context(os.fdopen(descriptor, "wb", 0)))


def _publish(path: Path) -> None:
    path.with_name(path.name + _PART).rename(path)
