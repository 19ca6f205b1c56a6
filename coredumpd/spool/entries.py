"""The entries of the spool: complete captures, oldest first. For the agent; every call blocks.

Only root may write the spool, yet each name is opened without following links: a planted link must
not make the agent read, or remove, anything else.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from typing import BinaryIO

from coredumpd import durable, errors
from coredumpd.formats import core_index, names
from coredumpd.formats import record as records
from coredumpd.spool import capture, owner, room

_GONE = ".gone"
_SEALED = "sealed.gz"  # becomes core.gz once it is complete
ASIDE = ".bad"  # an entry that cannot be shipped is kept under this suffix, for a person


class Spool:
    """`<hostDir>/spool`, created with mode 0700 if missing. Raises Forbidden, StorageError."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._fd = durable.open_directory(path, create=True)
        for name in os.listdir(self._fd):
            if name.startswith(".") and name.endswith(_GONE):
                Entry(self._fd, name[1:].removesuffix(_GONE)).remove()  # a removal cut half-way

    def close(self) -> None:
        os.close(self._fd)

    def pids(self) -> set[int]:
        """Ids of the processes that have a capture here, complete or in progress."""
        in_use = (name for name in os.listdir(self._fd) if not name.endswith(ASIDE))
        return {pid for name in in_use if (pid := names.pid_of(name)) is not None}

    def capturing(self) -> set[str]:
        """Ids of the containers of captures in progress; "" for one that cannot be read yet.

        A process in no container has none. Raises OSError.
        """
        ids: set[str] = set()
        for name in os.listdir(self._fd):
            if name.endswith(capture.PART):
                with contextlib.suppress(FileNotFoundError, NotADirectoryError):  # committed now
                    ids.update(self._container_of_part(name))
        return ids

    def _container_of_part(self, name: str) -> Iterator[str]:
        directory = os.open(name, durable.DIRECTORY, dir_fd=self._fd)
        try:
            with os.fdopen(durable.open_regular(capture.META, directory), "rb") as file:
                record = records.CrashRecord.parse(file.read(records.RECORD_BYTES_MAX + 1))
        except (FileNotFoundError, durable.NotRegularError, errors.BadRecord):
            yield ""
        else:
            if record.container_id is not None:
                yield record.container_id
        finally:
            os.close(directory)

    def entries(self) -> list[Entry]:
        """Complete captures, oldest first. Skips names that no handler makes."""
        aged_names = []
        for name in os.listdir(self._fd):
            if names.is_dns_subdomain(name) and not name.endswith((capture.PART, ASIDE)):
                with contextlib.suppress(FileNotFoundError):  # shipped and removed meanwhile
                    aged_names.append((os.stat(name, dir_fd=self._fd).st_mtime_ns, name))
        return [Entry(self._fd, name) for _, name in sorted(aged_names)]

    def aside(self) -> list[tuple[str, int, float]]:
        """(name, bytes, seconds since the epoch) of each entry that was set aside."""
        facts = []
        for name in os.listdir(self._fd):
            if name.endswith(ASIDE):
                with contextlib.suppress(errors.NotFound):
                    facts.append((name, *self.size_and_time(name)))
        return facts

    def size_and_time(self, name: str) -> tuple[int, float]:
        """Bytes of an entry, and when it was captured or set aside. Raises NotFound."""
        try:
            status = os.stat(name, dir_fd=self._fd, follow_symlinks=False)
            if not stat.S_ISDIR(status.st_mode):
                return status.st_size, status.st_mtime
            directory = os.open(name, durable.DIRECTORY, dir_fd=self._fd)
            try:
                files = [
                    os.stat(file, dir_fd=directory, follow_symlinks=False)
                    for file in os.listdir(directory)
                ]
            finally:
                os.close(directory)
        except OSError as error:
            raise errors.NotFound(f"spool entry {name}: {error.strerror}") from error
        return sum(file.st_blocks * 512 for file in files), status.st_mtime

    def discard(self, name: str) -> None:
        """Remove an entry of any kind, even a file that somebody put there. Raises StorageError."""
        try:
            is_directory = stat.S_ISDIR(
                os.stat(name, dir_fd=self._fd, follow_symlinks=False).st_mode
            )
            if not is_directory:
                os.unlink(name, dir_fd=self._fd)
        except FileNotFoundError:
            return
        except OSError as error:
            raise errors.StorageError(f"cannot remove {name}: {error.strerror}") from error
        if is_directory:
            Entry(self._fd, name).remove()

    def add(self, record: records.CrashRecord, core: bytes) -> None:
        """Create an entry that no handler wrote. Raises AlreadyExists, StorageError."""
        part = capture.Capture.create(self._fd, record.id, record.namespace or capture.UNKNOWN)
        try:
            durable.write_all(part.core, core)
            part.commit(record)
        except OSError as error:
            raise errors.StorageError(f"cannot write {record.id}: {error.strerror}") from error
        finally:
            part.close()


class Entry:
    """One complete capture: `<id>/core.gz`, perhaps `<id>/core.index`, and `<id>/meta.json`."""

    def __init__(self, spool: int, id: str) -> None:
        self._spool = spool
        self.id = id

    def update(self, record: records.CrashRecord) -> None:
        """Replace meta.json, durably. Raises StorageError."""
        with self._changed() as directory:
            durable.write_whole_at(capture.META, directory, record.encode())

    def require_room(self, size: int, keep_free: int | None) -> None:
        """Raise StorageError when `size` more bytes would leave less than `keep_free` of the disk.

        See `room.left`.
        """
        left = room.left(os.fstatvfs(self._spool), keep_free)
        if left < size:
            raise errors.StorageError(
                f"{self.id} waits: a copy of its {size} bytes does not fit beside it while the"
                f" spool's disk has {max(0, left)} more than stay free (spoolKeepFree)"
            )

    @contextlib.contextmanager
    def new_sealed(self) -> Iterator[BinaryIO]:
        """An empty, unbuffered file to seal the core into; it replaces that of an earlier try.

        It is removed if the block fails, to free a disk that may be full. Raises StorageError.
        """
        with contextlib.ExitStack() as stack:
            try:
                with self._changed() as directory:
                    file = stack.enter_context(_new_file(_SEALED, directory))
                yield file
            except Exception:
                with contextlib.suppress(errors.CoredumpdError):  # the first failure is reported
                    self._drop_sealed()
                raise

    def _drop_sealed(self) -> None:
        if self.record().sealed is None:
            with self._changed() as directory:
                os.unlink(_SEALED, dir_fd=directory)

    def put_sealed(self, record: records.CrashRecord, sealed: BinaryIO) -> None:
        """Replace core.gz by `sealed` (complete, from `new_sealed`), and the record by `record`.

        The record decides: killed before it is replaced, the entry is plain; killed after, it is
        sealed, and `open_core` does the rest: the removal of core.index, which would tell where
        the core has holes, and the rename. Raises StorageError.
        """
        try:
            os.fsync(sealed.fileno())
        except OSError as error:
            raise errors.StorageError(f"cannot seal {self.id}: {error.strerror}") from error
        self.update(record)
        self._finish_sealing()

    def _finish_sealing(self) -> None:
        """Replace the plain core by the sealed one, if the record says that the core is sealed."""
        try:
            self._open(_SEALED).close()
        except errors.BadRecord:
            return  # there is none, as usual
        if self.record().sealed is not None:
            with self._changed() as directory:
                durable.unlink(capture.INDEX, directory)
                os.rename(_SEALED, capture.CORE, src_dir_fd=directory, dst_dir_fd=directory)

    def record(self) -> records.CrashRecord:
        """meta.json. Raises BadRecord, NotFound when the entry was removed, StorageError."""
        with self._open(capture.META) as file:
            try:
                record = records.CrashRecord.parse(file.read(records.RECORD_BYTES_MAX + 1))
            except OSError as error:
                raise errors.StorageError(f"{self.id}/{capture.META}: {error}") from error
        if record.id != self.id:
            raise errors.BadRecord(f"spool entry {self.id} says it is {record.id}")
        return owner.verified(f"/proc/self/fd/{self._spool}/{self.id}", record)

    def open_core(self) -> BinaryIO:
        """core.gz, to be closed by the caller. Raises as `record`, BadRecord when there is none."""
        self._finish_sealing()
        return self._open(capture.CORE)

    def index(self, record: records.CrashRecord) -> core_index.Index | None:
        """The index of the core that `record` describes, None where it has none.

        Raises as `record`; BadRecord for an index that is missing, damaged or of another core.
        """
        if record.index is None:
            return None
        with self._open(capture.INDEX) as file:
            try:
                return core_index.of_record(record, file.read(core_index.BYTES_MAX + 1))
            except OSError as error:
                raise errors.StorageError(f"{self.id}/{capture.INDEX}: {error}") from error

    def remove(self) -> None:
        """Free the disk. May be called twice. Raises StorageError."""
        gone = f".{self.id}{_GONE}"
        try:
            # Renamed first: a removal cut half-way must not leave half an entry to be shipped.
            with contextlib.suppress(FileNotFoundError):  # an earlier try has renamed it
                os.rename(self.id, gone, src_dir_fd=self._spool, dst_dir_fd=self._spool)
            durable.remove_flat(gone, self._spool)
        except OSError as error:
            raise errors.StorageError(f"cannot remove {self.id}: {error.strerror}") from error

    def set_aside(self) -> None:
        """Rename the entry so that no scan finds it, in place of an older one. StorageError."""
        aside = self.id + ASIDE
        Entry(self._spool, aside).remove()
        try:
            os.rename(self.id, aside, src_dir_fd=self._spool, dst_dir_fd=self._spool)
            os.utime(aside, dir_fd=self._spool)  # its age counts from now on
        except OSError as error:
            raise errors.StorageError(f"cannot set {self.id} aside: {error.strerror}") from error

    @contextlib.contextmanager
    def _changed(self) -> Iterator[int]:
        """The entry's directory, synced in the end; its mtime, which orders entries, is kept."""
        try:
            directory = os.open(self.id, durable.DIRECTORY, dir_fd=self._spool)
            try:
                status = os.fstat(directory)
                yield directory
                os.utime(directory, ns=(status.st_atime_ns, status.st_mtime_ns))
                os.fsync(directory)
            finally:
                os.close(directory)
        except OSError as error:
            raise errors.StorageError(f"cannot update {self.id}: {error.strerror}") from error

    def _open(self, name: str) -> BinaryIO:
        try:
            directory = os.open(self.id, durable.DIRECTORY, dir_fd=self._spool)
        except FileNotFoundError as error:
            raise errors.NotFound(f"spool entry {self.id} is gone") from error
        except OSError as error:
            raise errors.StorageError(f"{self.id}: {error.strerror}") from error
        try:
            try:
                return os.fdopen(durable.open_regular(name, directory), "rb")
            finally:
                os.close(directory)
        except FileNotFoundError as error:
            raise errors.BadRecord(f"spool entry {self.id} has no {name}") from error
        except durable.NotRegularError as error:
            raise errors.BadRecord(f"spool entry {self.id}: {name} is no plain file") from error
        except OSError as error:
            raise errors.StorageError(f"{self.id}/{name}: {error.strerror}") from error


def _new_file(name: str, directory: int) -> BinaryIO:
    """An empty, unbuffered file that replaces a killed writer's. Raises OSError."""
    durable.unlink(name, directory)
    return os.fdopen(durable.create_file(name, directory), "wb", 0)
