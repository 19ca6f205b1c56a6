"""One capture on its way into the spool: `<id>.part/` while it runs, `<id>/` when it is whole.

Order of a commit: fsync core.gz, fsync meta.json, fsync the directory, rename, fsync the spool. A
power cut leaves either a `.part` or a complete entry.
"""

from __future__ import annotations

import fcntl
import os
import stat

from coredumpd import errors, record

PART = ".part"
CORE = "core.gz"
META = "meta.json"
_NEW = ".new"
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def open_private(path: str, create: bool = False) -> int:
    """A descriptor of a directory that only we can write, made 0700 if `create`.

    Raises Forbidden for a link, another's directory or one that group or others can write;
    StorageError when it cannot be opened or made.
    """
    try:
        if create:
            _make_directory(path)
        fd = os.open(path, _DIRECTORY)
    except OSError as error:
        if os.path.islink(path):
            raise errors.Forbidden(f"{path}: must be a directory, not a link") from error
        raise errors.StorageError(f"cannot use the directory {path}: {error.strerror}") from error
    about = os.fstat(fd)
    if about.st_uid != os.geteuid() or stat.S_IMODE(about.st_mode) & 0o022:
        os.close(fd)
        rule = f"must belong to uid {os.geteuid()} and be writable by nobody else"
        raise errors.Forbidden(f"{path}: {rule}")
    return fd


def _make_directory(path: str) -> None:
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        return  # its owner and mode are checked like any other's


class Capture:
    """A `.part` directory being filled. Its core.gz stays locked while the handler lives."""

    def __init__(self, spool: int, id: str) -> None:
        """Make `<id>.part` below the directory `spool`.

        Raises AlreadyExists for an id in use, StorageError when the disk refuses.
        """
        self.id = id
        self._spool = spool
        try:
            os.mkdir(id + PART, 0o700, dir_fd=spool)
            self._directory = os.open(id + PART, _DIRECTORY, dir_fd=spool)
            self.core = os.open(CORE, _CREATE, 0o600, dir_fd=self._directory)
            fcntl.flock(self.core, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except FileExistsError as error:
            raise errors.AlreadyExists(f"spool entry {id} exists") from error
        except OSError as error:
            raise errors.StorageError(f"cannot make {id} in the spool: {error.strerror}") from error

    def note(self, record: record.CrashRecord) -> None:
        """Leave `record` in the `.part`, so that a killed handler's capture can be attributed.

        Raises StorageError.
        """
        self._put(record, durable=False)

    def commit(self, record: record.CrashRecord) -> None:
        """Make the capture durable under its final name, `record` in it. Raises StorageError."""
        try:
            os.fsync(self.core)
            self._put(record, durable=True)
            os.fsync(self._directory)
            os.rename(self.id + PART, self.id, src_dir_fd=self._spool, dst_dir_fd=self._spool)
            os.fsync(self._spool)
        except OSError as error:
            raise errors.StorageError(f"cannot commit {self.id}: {error.strerror}") from error

    def _put(self, record: record.CrashRecord, durable: bool) -> None:
        try:
            fd = os.open(META + _NEW, _CREATE, 0o600, dir_fd=self._directory)
            try:
                rest = memoryview(record.encode())
                while rest:
                    rest = rest[os.write(fd, rest) :]
                if durable:
                    os.fsync(fd)
            finally:
                os.close(fd)
            names = {"src_dir_fd": self._directory, "dst_dir_fd": self._directory}
            os.rename(META + _NEW, META, **names)
        except OSError as error:
            raise errors.StorageError(
                f"cannot write {META} of {self.id}: {error.strerror}"
            ) from error
