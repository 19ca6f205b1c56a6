"""Files below a root, reached step by step through directory descriptors.

A store is shared: everyone who can write to it can plant a symlink. So the kernel never resolves a
path as a whole; each name is opened with O_NOFOLLOW relative to its parent, which is what
openat2(2) RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS does, on every kernel and every filesystem.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator

DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# O_NONBLOCK: a planted FIFO must not hang the open; regular files ignore it.
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
_CREATE = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


@contextlib.contextmanager
def directory(root: str, *names: str) -> Iterator[int]:
    """A descriptor of root/names…; the root itself may be reached through symlinks."""
    current = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for name in names:
            current = _replace(current, os.open(name, DIRECTORY, dir_fd=current))
        yield current
    finally:
        os.close(current)


@contextlib.contextmanager
def made_directory(root: str, *names: str) -> Iterator[int]:
    """As `directory`, but makes missing directories; each is on disk before the next is made."""
    current = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for name in names:
            try:
                os.mkdir(name, 0o770, dir_fd=current)
            except FileExistsError:
                pass  # also the answer to a planted symlink, which the open below refuses
            else:
                os.fsync(current)
            current = _replace(current, os.open(name, DIRECTORY, dir_fd=current))
        yield current
    finally:
        os.close(current)


def _replace(old: int, new: int) -> int:
    os.close(old)
    return new


def open_file(name: str, parent: int) -> int:
    """A read-only descriptor of a regular file. Raises OSError for anything else."""
    file = os.open(name, _READ, dir_fd=parent)
    if not stat.S_ISREG(os.fstat(file).st_mode):
        os.close(file)
        raise OSError(f"{name} is not a regular file")
    return file


def create_file(name: str, parent: int) -> int:
    """A read-write descriptor of a new file."""
    return os.open(name, _CREATE, 0o660, dir_fd=parent)


def names(directory: int) -> list[str]:
    """Names of the directories in `directory`, sorted; symlinks are not directories."""
    with os.scandir(directory) as children:
        return sorted(child.name for child in children if child.is_dir(follow_symlinks=False))


def remove(name: str, parent: int) -> None:
    """Remove a directory of files; not recursive, since a dump never nests."""
    try:
        child = os.open(name, DIRECTORY, dir_fd=parent)
    except FileNotFoundError:
        return  # another remover was faster
    try:
        for file in os.listdir(child):
            with contextlib.suppress(FileNotFoundError):  # as above
                os.unlink(file, dir_fd=child)
    finally:
        os.close(child)
    with contextlib.suppress(FileNotFoundError):  # as above
        os.rmdir(name, dir_fd=parent)
