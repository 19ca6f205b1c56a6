"""What lies in the spool: complete captures, oldest first. For the agent; every call blocks.

The spool is root's alone, yet each name is opened without following links: whoever got in before
us must not be able to make us read, or remove, anything else.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import BinaryIO

from coredumpd import durable, errors
from coredumpd.formats import names as naming
from coredumpd.formats import record as records
from coredumpd.spool import capture

_GONE = ".gone"
_SEALED = "sealed.gz"  # on its way to be core.gz
ASIDE = ".bad"  # what can never be shipped is kept under this suffix, for a person
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Spool:
    """`<hostDir>/spool`, made 0700 when it is not there. Raises Forbidden, StorageError."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._fd = durable.open_directory(path, create=True)
        for name in os.listdir(self._fd):
            if name.startswith(".") and name.endswith(_GONE):
                Entry(self._fd, name[1:].removesuffix(_GONE)).remove()  # a removal cut half-way

    def close(self) -> None:
        os.close(self._fd)

    def pids(self) -> set[int]:
        """Whose captures lie here, complete or in progress."""
        names = (name for name in os.listdir(self._fd) if not name.endswith(ASIDE))
        return {pid for name in names if (pid := naming.pid_of(name)) is not None}

    def entries(self) -> list[Entry]:
        """Complete captures, oldest first. Names that no handler makes are passed over."""
        found = []
        for name in os.listdir(self._fd):
            if naming.is_dns_subdomain(name) and not name.endswith((capture.PART, ASIDE)):
                with contextlib.suppress(FileNotFoundError):  # shipped and removed meanwhile
                    found.append((os.stat(name, dir_fd=self._fd).st_mtime_ns, name))
        return [Entry(self._fd, name) for _, name in sorted(found)]

    def add(self, crash: records.CrashRecord, core: bytes) -> None:
        """A new entry that no handler made. Raises AlreadyExists, StorageError."""
        made = capture.Capture.create(self._fd, crash.id)
        try:
            durable.write_all(made.core, core)
            made.commit(crash)
        except OSError as error:
            raise errors.StorageError(f"cannot write {crash.id}: {error.strerror}") from error
        finally:
            made.close()


class Entry:
    """One complete capture: `<id>/core.gz` and `<id>/meta.json`."""

    def __init__(self, spool: int, id: str) -> None:
        self._spool = spool
        self.id = id

    def update(self, crash: records.CrashRecord) -> None:
        """Replace meta.json, durably. Raises StorageError."""
        new = f"{capture.META}.update"
        with self._changed() as directory:
            with _new_file(new, directory) as file:
                file.write(crash.encode())
                file.flush()
                os.fsync(file.fileno())
            os.rename(new, capture.META, src_dir_fd=directory, dst_dir_fd=directory)

    @contextlib.contextmanager
    def new_sealed(self) -> Iterator[BinaryIO]:
        """An empty file to seal the core into, not buffered; an earlier try's is gone.

        It is removed if the block fails: the disk may be full of it. Raises StorageError.
        """
        with contextlib.ExitStack() as stack:
            try:
                with self._changed() as directory:
                    file = stack.enter_context(_new_file(_SEALED, directory, 0))
                yield file
            except Exception:
                with contextlib.suppress(errors.CoredumpdError):  # the first failure is the one
                    self._drop_sealed()
                raise

    def _drop_sealed(self) -> None:
        if self.record().sealed is None:
            with self._changed() as directory:
                os.unlink(_SEALED, dir_fd=directory)

    def put_sealed(self, crash: records.CrashRecord, sealed: BinaryIO) -> None:
        """`sealed`, from `new_sealed` and whole, is core.gz from now on, and `crash` its record.

        The record decides: killed before it is replaced, the entry is plain; killed after, it is
        sealed, and `open_core` does what is left to do. Raises StorageError.
        """
        try:
            os.fsync(sealed.fileno())
        except OSError as error:
            raise errors.StorageError(f"cannot seal {self.id}: {error.strerror}") from error
        self.update(crash)
        self._finish_sealing()

    def _finish_sealing(self) -> None:
        """The sealed core takes the plain one's place, if the record tells of it."""
        try:
            self._open(_SEALED).close()
        except errors.BadRecord:
            return  # there is none, as usual
        if self.record().sealed is not None:
            with self._changed() as directory:
                os.rename(_SEALED, capture.CORE, src_dir_fd=directory, dst_dir_fd=directory)

    def record(self) -> records.CrashRecord:
        """Raises BadRecord for what is no record, NotFound when it was removed, StorageError."""
        with self._open(capture.META) as file:
            try:
                crash = records.CrashRecord.parse(file.read(records.RECORD_BYTES_MAX + 1))
            except OSError as error:
                raise errors.StorageError(f"{self.id}/{capture.META}: {error}") from error
        if crash.id != self.id:
            raise errors.BadRecord(f"spool entry {self.id} says it is {crash.id}")
        return crash

    def open_core(self) -> BinaryIO:
        """core.gz, to be closed by the caller. Raises as `record`, BadRecord when there is none."""
        self._finish_sealing()
        return self._open(capture.CORE)

    def remove(self) -> None:
        """Free the disk. May be called twice. Raises StorageError."""
        gone = f".{self.id}{_GONE}"
        try:
            # Renamed first: a removal cut half-way must not leave half an entry to be shipped.
            with contextlib.suppress(FileNotFoundError):  # a first try got past this
                os.rename(self.id, gone, src_dir_fd=self._spool, dst_dir_fd=self._spool)
            with contextlib.suppress(FileNotFoundError):  # removed before
                directory = os.open(gone, _DIRECTORY, dir_fd=self._spool)
                try:
                    for name in os.listdir(directory):
                        os.unlink(name, dir_fd=directory)
                finally:
                    os.close(directory)
                os.rmdir(gone, dir_fd=self._spool)
        except OSError as error:
            raise errors.StorageError(f"cannot remove {self.id}: {error.strerror}") from error

    def set_aside(self) -> None:
        """Keep it under a name that no scan finds. Raises StorageError."""
        try:
            os.rename(self.id, self.id + ASIDE, src_dir_fd=self._spool, dst_dir_fd=self._spool)
        except OSError as error:
            raise errors.StorageError(f"cannot set {self.id} aside: {error.strerror}") from error

    @contextlib.contextmanager
    def _changed(self) -> Iterator[int]:
        """The entry's directory, synced in the end. It keeps its time, its place in line."""
        try:
            directory = os.open(self.id, _DIRECTORY, dir_fd=self._spool)
            try:
                about = os.fstat(directory)
                yield directory
                os.utime(directory, ns=(about.st_atime_ns, about.st_mtime_ns))
                os.fsync(directory)
            finally:
                os.close(directory)
        except OSError as error:
            raise errors.StorageError(f"cannot update {self.id}: {error.strerror}") from error

    def _open(self, name: str) -> BinaryIO:
        try:
            directory = os.open(self.id, _DIRECTORY, dir_fd=self._spool)
        except FileNotFoundError as error:
            raise errors.NotFound(f"spool entry {self.id} is gone") from error
        except OSError as error:
            raise errors.StorageError(f"{self.id}: {error.strerror}") from error
        try:
            try:
                file = os.fdopen(os.open(name, _FILE, dir_fd=directory), "rb")
            finally:
                os.close(directory)
        except FileNotFoundError as error:
            raise errors.BadRecord(f"spool entry {self.id} has no {name}") from error
        except OSError as error:
            raise errors.StorageError(f"{self.id}/{name}: {error.strerror}") from error
        if not durable.is_plain(file.fileno()):
            file.close()
            raise errors.BadRecord(f"spool entry {self.id}: {name} is no plain file")
        return file


def _new_file(name: str, directory: int, buffering: int = -1) -> BinaryIO:
    """Empty and root's alone, in place of what a killed writer left. Raises OSError."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(name, dir_fd=directory)
    return os.fdopen(os.open(name, _NEW, 0o600, dir_fd=directory), "wb", buffering)
