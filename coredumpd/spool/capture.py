"""One capture on its way into the spool: `<id>.part/` while it runs, `<id>/` when it is whole.

Order of a commit: fsync core.gz, core.index, meta.json and the directory, rename, fsync the spool.
A power cut leaves either a `.part` or a complete entry.
"""

from __future__ import annotations

import fcntl
import os

from coredumpd import durable, errors
from coredumpd.formats import record as records

TYPE_CHECKING = False
if TYPE_CHECKING:
    from coredumpd.formats import core_index

PART = ".part"
# A file without content, whose name says which tenant's share of the spool the entry counts in:
# a handler asks for it without reading one record.
# While the capture runs, its size is the most that the core may take: see handler/limits.py.
TENANT = "tenant."
# Of core.truncated.reason.
SPOOL_FULL = "the spool is full (spoolMaxUse)"
DISK_FULL = "what is free on the spool's disk stays free for the node (spoolKeepFree)"
UNKNOWN = "-"  # the tenant of pods whose namespace is not known
CORE = "core.gz"
INDEX = "core.index"  # appended to while the capture runs; written anew, whole, by the commit
META = "meta.json"
_NEW_CORE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_OLD_CORE = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class Capture:
    """A `.part` directory being filled. Its core.gz stays locked while the writer lives."""

    def __init__(self, spool: int, id: str, core_flags: int = _NEW_CORE) -> None:
        """Open `<id>.part` below the directory `spool`, and its core.gz by `core_flags`.

        Raises Conflict when another process is writing it, StorageError when the disk refuses.
        """
        self.id = id
        self._spool = spool
        try:
            self.directory = os.open(id + PART, durable.DIRECTORY, dir_fd=spool)
            self.core = os.open(CORE, core_flags, 0o600, dir_fd=self.directory)
            fcntl.flock(self.core, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise errors.Conflict(f"spool entry {id} is being written") from error
        except OSError as error:
            raise errors.StorageError(f"cannot open {id} in the spool: {error.strerror}") from error
        if not durable.is_plain(self.core):
            self.close()
            raise errors.StorageError(f"cannot open {id} in the spool: {CORE} is no plain file")

    @classmethod
    def create(cls, spool: int, id: str, tenant: str, reserved: int = 0) -> Capture:
        """A new one of `tenant`'s, for which `reserved` bytes are counted while it runs.

        Raises AlreadyExists for an id in use, and as the constructor does.
        """
        try:
            os.mkdir(id + PART, 0o700, dir_fd=spool)
            mark = durable.create_file(f"{id}{PART}/{TENANT}{tenant}", spool)
            try:
                os.ftruncate(mark, reserved)  # a hole: it takes no space
            finally:
                os.close(mark)
        except FileExistsError as error:
            raise errors.AlreadyExists(f"spool entry {id} exists") from error
        except OSError as error:
            raise errors.StorageError(f"cannot make {id} in the spool: {error.strerror}") from error
        return cls(spool, id)

    @classmethod
    def reopen(cls, spool: int, id: str) -> Capture:
        """One that another process left. Raises as the constructor does."""
        return cls(spool, id, _OLD_CORE)

    def close(self) -> None:
        """Give up the lock and the descriptors; what is on disk stays."""
        os.close(self.core)
        os.close(self.directory)

    def new_index(self) -> int:
        """A descriptor of a new core.index, to append entries to; the caller closes it.

        Raises StorageError.
        """
        try:
            return durable.create_file(INDEX, self.directory)
        except OSError as error:
            raise errors.StorageError(
                f"cannot write {INDEX} of {self.id}: {error.strerror}"
            ) from error

    def noted(self) -> bytes:
        """meta.json as it is in the `.part`; b"" when there is none. Raises BadRecord."""
        return self._content(META, records.RECORD_BYTES_MAX)

    def noted_index(self, size_max: int) -> bytes:
        """At most `size_max` bytes of core.index; b"" when there is none. Raises BadRecord."""
        return self._content(INDEX, size_max)

    def _content(self, name: str, size_max: int) -> bytes:
        try:
            fd = durable.open_regular(name, self.directory)
        except FileNotFoundError:
            return b""
        except durable.NotRegularError as error:
            raise errors.BadRecord(f"{name} of {self.id} is no plain file") from error
        with open(fd, "rb") as file:
            return file.read(size_max + 1)

    def discard(self) -> None:
        """Remove the `.part`: for one that holds nothing."""
        durable.remove_flat(self.id + PART, self._spool)

    def note(self, record: records.CrashRecord) -> None:
        """Leave `record` in the `.part`, so that a killed handler's capture can be attributed.

        Raises StorageError.
        """
        self._write_record(record, sync=False)

    def commit(self, record: records.CrashRecord, index: core_index.Index | None = None) -> None:
        """Make the capture durable under its final name, `record` in it. Raises StorageError.

        `index` is that of the core, None for a core that core.gz holds as it is.
        """
        try:
            os.fsync(self.core)
            if index is None:
                durable.unlink(INDEX, self.directory)
            else:
                durable.write_whole_at(INDEX, self.directory, index.data)
            self._write_record(record, sync=True)
            os.rename(self.id + PART, self.id, src_dir_fd=self._spool, dst_dir_fd=self._spool)
            os.fsync(self._spool)
        except OSError as error:
            raise errors.StorageError(f"cannot commit {self.id}: {error.strerror}") from error

    def _write_record(self, record: records.CrashRecord, sync: bool) -> None:
        try:
            durable.write_whole_at(META, self.directory, record.encode(), sync=sync)
        except OSError as error:
            raise errors.StorageError(
                f"cannot write {META} of {self.id}: {error.strerror}"
            ) from error
