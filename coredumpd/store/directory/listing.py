"""A directory store as files, dumps or not, for `coredumpd store`. No symlink is followed."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence

from coredumpd import durable
from coredumpd.store import interface
from coredumpd.store.directory import tree

_DEPTH_MAX = 16  # the files of a dump are five names deep; deeper directories are left out
_log = logging.getLogger(__name__)


def walk(root: str, names: Sequence[str]) -> Iterator[interface.File]:
    """Every file below root/names…, sorted as text; an empty directory as a path ending in "/".

    A directory that cannot be read is logged; a missing one has no files.
    """
    try:
        with tree.directory(root, *names) as directory:
            yield from _below(directory, "".join(f"{name}/" for name in names), len(names))
    except FileNotFoundError:
        return


def _below(directory: int, path: str, depth: int) -> Iterator[interface.File]:
    """As `walk`, below the open `directory` at `path`: one open a directory, one stat a file."""
    try:
        with os.scandir(directory) as children:
            names = [
                (f"{child.name}/" if child.is_dir(follow_symlinks=False) else child.name)
                for child in children
            ]
    except OSError as error:
        _log.warning("unreadable, skipped: %s: %s", path, error)
        return
    if not names and path:
        yield interface.File(path, 0, os.fstat(directory).st_mtime)
    for name in sorted(names):
        try:
            if not name.endswith("/"):
                status = os.stat(name, dir_fd=directory, follow_symlinks=False)
                yield interface.File(path + name, status.st_size, status.st_mtime)
                continue
            if depth >= _DEPTH_MAX:
                continue
            below = os.open(name[:-1], durable.DIRECTORY, dir_fd=directory)
        except FileNotFoundError:
            continue  # removed since its parent was read
        except OSError as error:
            _log.warning("unreadable, skipped: %s: %s", path + name, error)
            continue
        try:
            yield from _below(below, path + name, depth + 1)
        finally:
            os.close(below)


def discard(root: str, names: Sequence[str]) -> None:
    """Remove one file or empty directory, then each parent that is empty after that."""
    *above, last = names
    with tree.directory(root, *above) as parent:
        try:
            os.unlink(last, dir_fd=parent)
        except IsADirectoryError:
            os.rmdir(last, dir_fd=parent)
    while above:
        last = above.pop()
        try:
            with tree.directory(root, *above) as parent:
                os.rmdir(last, dir_fd=parent)
        except OSError:
            return  # not empty, as usual
