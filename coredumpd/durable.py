"""Whole files and directories, written so that they last, and opened without following links.

Where a `directory` is asked for, it is an open directory's descriptor that `name` is relative to;
None: the working directory. The crash path imports this module.
"""

from __future__ import annotations

import os
import stat

from coredumpd import errors

DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_CREATE = os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
# O_NONBLOCK: a planted FIFO must not hang the open; regular files ignore it.
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
_NEW = ".new"


class NotRegularError(OSError):
    """A name is that of a link, a device, a directory, or a second name of some file."""


def open_directory(path: str, create: bool = False, below: int | None = None) -> int:
    """A descriptor of a directory that only we can write, made 0700 if `create`.

    `path` is relative to the descriptor `below`, if given. Raises Forbidden for a link, another's
    directory or one that group or others can write; StorageError when it cannot be opened or made.
    """
    try:
        if create:
            _make_directory(path, below)
        fd = os.open(path, DIRECTORY, dir_fd=below)
    except OSError as error:
        place = _whole(path, below)
        if _is_link(path, below):
            raise errors.Forbidden(f"{place}: must be a directory, not a link") from error
        raise errors.StorageError(f"cannot use the directory {place}: {error.strerror}") from error
    if not is_ours(fd):
        os.close(fd)
        rule = f"must belong to uid {os.geteuid()} and be writable by nobody else"
        raise errors.Forbidden(f"{_whole(path, below)}: {rule}")
    return fd


def _whole(path: str, below: int | None) -> str:
    """`path` for a message, with the directory it is relative to."""
    return path if below is None else f"{os.readlink(f'/proc/self/fd/{below}')}/{path}"


def _is_link(path: str, below: int | None) -> bool:
    try:
        return stat.S_ISLNK(os.stat(path, dir_fd=below, follow_symlinks=False).st_mode)
    except OSError:
        return False  # the failure that is being reported counts


def _make_directory(path: str, below: int | None) -> None:
    try:
        os.mkdir(path, 0o700, dir_fd=below)
    except FileExistsError:
        return  # its owner and mode are checked like any other's


def is_ours(descriptor: int) -> bool:
    """Does it belong to us, and can nobody else write it?"""
    attributes = os.fstat(descriptor)
    return attributes.st_uid == os.geteuid() and not attributes.st_mode & 0o022


def is_plain(descriptor: int) -> bool:
    """Is it a regular file, and no second name of one that is somewhere else?

    A file that was renamed over while it was open has no name left, and is fine.
    """
    attributes = os.fstat(descriptor)
    return stat.S_ISREG(attributes.st_mode) and attributes.st_nlink <= 1


def open_regular(name: str, directory: int | None = None, *, hard_links: bool = False) -> int:
    """A descriptor to read a regular file; `hard_links`: it may have several names.

    Raises NotRegularError, or another OSError.
    """
    descriptor = os.open(name, _READ, dir_fd=directory)
    regular = stat.S_ISREG(os.fstat(descriptor).st_mode)
    if not regular or not (hard_links or is_plain(descriptor)):
        os.close(descriptor)
        raise NotRegularError(f"{name} is not a regular file")
    return descriptor


def create_file(
    name: str, directory: int | None = None, *, mode: int = 0o600, readable: bool = False
) -> int:
    """A descriptor to write a new file, and to read it if `readable`. Raises OSError."""
    access = os.O_RDWR if readable else os.O_WRONLY
    return os.open(name, access | _CREATE, mode, dir_fd=directory)


def write_new(
    name: str, directory: int | None, data: bytes, *, mode: int = 0o600, sync: bool = True
) -> None:
    """A new file that holds `data`, on the medium if `sync`. Raises OSError."""
    descriptor = create_file(name, directory, mode=mode)
    try:
        write_all(descriptor, data)
        if sync:
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_whole_at(
    name: str,
    directory: int,
    data: bytes,
    *,
    mode: int = 0o600,
    sync: bool = True,
    temporary: str | None = None,
) -> None:
    """Replace `name` by `data` through a rename; file and directory are synced if `sync`.

    `temporary` is the name until then, by default `<name>.new`; writers that may meet need one
    each. Raises OSError.
    """
    new = temporary or name + _NEW
    unlink(new, directory)  # what a killed writer left
    try:
        write_new(new, directory, data, mode=mode, sync=sync)
        os.rename(new, name, src_dir_fd=directory, dst_dir_fd=directory)
    except OSError:  # a full disk
        unlink(new, directory)
        raise
    if sync:
        os.fsync(directory)


def write_whole(path: str | os.PathLike[str], data: bytes) -> None:
    """Replace `path` by `data`, mode 0600, durably. Raises StorageError."""
    parent, name = os.path.split(os.fspath(path))
    try:
        directory = os.open(parent or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            write_whole_at(name, directory, data)
        finally:
            os.close(directory)
    except OSError as error:
        raise errors.StorageError(f"cannot write {path}: {error.strerror}") from error


def write_all(sink: int, data: bytes) -> None:
    """os.write until everything is written. Raises OSError."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(sink, rest) :]


def sync_directory(path: str | os.PathLike[str]) -> None:
    """fsync(2) of a directory: what was renamed in it stays renamed. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def unlink(name: str, directory: int | None = None) -> None:
    """Remove a file that may not be there. Raises OSError."""
    try:
        os.unlink(name, dir_fd=directory)
    except FileNotFoundError:
        return  # nothing to remove is the usual case


def remove_flat(name: str, directory: int) -> None:
    """Remove a directory of files; another remover may be faster. Raises OSError."""
    try:
        child = os.open(name, DIRECTORY, dir_fd=directory)
    except FileNotFoundError:
        return
    try:
        for file in os.listdir(child):
            unlink(file, child)
    finally:
        os.close(child)
    try:
        os.rmdir(name, dir_fd=directory)
    except FileNotFoundError:
        return
