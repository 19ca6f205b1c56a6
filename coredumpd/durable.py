"""Files and directories that appear whole or not at all, opened without following links.

The crash path imports this module.
"""

from __future__ import annotations

import os
import stat

from coredumpd import errors

DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def write_whole(path: str | os.PathLike[str], data: bytes) -> None:
    """Replace `path` by `data`, mode 0600, through a rename. Raises StorageError."""
    name = os.fspath(path)
    new = name + ".new"
    try:
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
        with open(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.rename(new, name)
        sync_directory(os.path.dirname(name) or ".")
    except OSError as error:
        raise errors.StorageError(f"cannot write {name}: {error.strerror}") from error


def sync_directory(path: str | os.PathLike[str]) -> None:
    """fsync(2) of a directory: what was renamed in it stays renamed. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def open_directory(path: str, create: bool = False) -> int:
    """A descriptor of a directory that only we can write, made 0700 if `create`.

    Raises Forbidden for a link, another's directory or one that group or others can write;
    StorageError when it cannot be opened or made.
    """
    try:
        if create:
            _make_directory(path)
        fd = os.open(path, DIRECTORY)
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


def is_plain(descriptor: int) -> bool:
    """Is it a regular file, and no second name of one that is somewhere else?

    A file that was renamed over while it was open has no name left, and is fine.
    """
    about = os.fstat(descriptor)
    return stat.S_ISREG(about.st_mode) and about.st_nlink <= 1


def _make_directory(path: str) -> None:
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        return  # its owner and mode are checked like any other's


def unlink(name: str, directory: int) -> None:
    try:
        os.unlink(name, dir_fd=directory)
    except FileNotFoundError:
        return  # nothing to remove is the usual case


def write_all(sink: int, data: bytes) -> None:
    """os.write until everything is written. Raises OSError."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(sink, rest) :]
