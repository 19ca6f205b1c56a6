"""A directory store as files, dumps or not, for `coredumpd store`. No symlink is followed."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence

from coredumpd import store
from coredumpd.store import tree

_DEPTH_MAX = 16  # a dump's files are five names deep; whoever nests further only hides from us
_log = logging.getLogger(__name__)


def walk(root: str, names: Sequence[str]) -> Iterator[store.File]:
    """Every file below root/names…, sorted as text; an empty directory as a path ending in "/".

    A directory that cannot be read is logged. Nothing there is nothing found.
    """
    try:
        with tree.directory(root, *names) as directory, os.scandir(directory) as scanned:
            entries = [
                (f"{entry.name}/" if entry.is_dir(follow_symlinks=False) else entry.name, entry)
                for entry in scanned
            ]
            found = sorted((name, entry.stat(follow_symlinks=False)) for name, entry in entries)
            modified = os.fstat(directory).st_mtime
    except FileNotFoundError:
        return
    except OSError as error:
        _log.warning("unreadable, skipped: %s/%s: %s", root, "/".join(names), error)
        return
    if not found and names:
        yield store.File("/".join(names) + "/", 0, modified)
    for name, status in found:
        if not name.endswith("/"):
            yield store.File("/".join((*names, name)), status.st_size, status.st_mtime)
        elif len(names) < _DEPTH_MAX:
            yield from walk(root, (*names, name[:-1]))


def discard(root: str, names: Sequence[str]) -> None:
    """Remove one file or empty directory, then the directories that become empty by it."""
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
