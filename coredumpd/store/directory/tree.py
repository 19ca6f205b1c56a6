"""Files below a root, reached step by step through directory descriptors.

A store is shared: everyone who can write to it can plant a symlink. So the kernel never resolves a
path as a whole; each name is opened with O_NOFOLLOW relative to its parent, which is what
openat2(2) RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS does, on every kernel and every filesystem.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from coredumpd import durable

FILE_MODE = 0o660  # a store may be shared by a group


@contextlib.contextmanager
def directory(root: str, *names: str) -> Iterator[int]:
    """A descriptor of root/names…; the root itself may be reached through symlinks."""
    current = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for name in names:
            current = _replace(current, os.open(name, durable.DIRECTORY, dir_fd=current))
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
            current = _replace(current, os.open(name, durable.DIRECTORY, dir_fd=current))
        yield current
    finally:
        os.close(current)


def _replace(old: int, new: int) -> int:
    os.close(old)
    return new


def open_file(name: str, parent: int) -> int:
    """A read-only descriptor of a regular file. Raises OSError for anything else."""
    return durable.open_regular(name, parent, hard_links=True)


def create_file(name: str, parent: int) -> int:
    """A read-write descriptor of a new file."""
    return durable.create_file(name, parent, mode=FILE_MODE, readable=True)


def names(directory: int) -> list[str]:
    """Names of the directories in `directory`, sorted; symlinks are not directories."""
    with os.scandir(directory) as children:
        return sorted(child.name for child in children if child.is_dir(follow_symlinks=False))
