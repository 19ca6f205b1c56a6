"""Where a directory is in the kernel's mount tables: /proc/PID/mountinfo (proc(5)). Pure.

The handler runs in the host's mount namespace, the guard in its container's. The tables can be read
without entering a namespace, and nothing here touches a file system, which could hang.
"""

from __future__ import annotations

import re
from typing import NamedTuple

_ESCAPE = re.compile(r"\\([0-7]{3})")


class Place(NamedTuple):
    """A directory as its mount has it: the file system, the path in it, the mount and its options.

    `point` is where it is mounted.
    """

    device: str
    path: str
    point: str
    options: frozenset[str]

    @property
    def noexec(self) -> bool:
        return "noexec" in self.options

    def is_same(self, other: Place) -> bool:
        """Is it the same directory, whatever mounts lead there?"""
        return (self.device, self.path) == (other.device, other.path)


def locate(mountinfo: str, directory: str) -> Place | None:
    """The place of the absolute path `directory`, which has no links in it; None if none has it.

    Of several mounts that cover it, the deepest counts; of several at one point, the latest.
    """
    best: Place | None = None
    depth = -1
    for line in mountinfo.splitlines():
        fields, _, rest = line.partition(" - ")
        words, kind = fields.split(" "), rest.split(" ")
        if len(words) < 6 or len(kind) < 3:
            continue
        device, root, point, options = words[2], _plain(words[3]), _plain(words[4]), words[5]
        below = _below(directory, point)
        if below is None or len(point) < depth:
            continue
        depth = len(point)
        path = (root.rstrip("/") + below) or "/"
        best = Place(
            device, path, point, frozenset(options.split(",")) | frozenset(kind[2].split(","))
        )
    return best


def _below(directory: str, point: str) -> str | None:
    """The rest of `directory` below the mount point, "" for the point itself; None elsewhere."""
    if point == "/":
        return directory if directory != "/" else ""
    if directory == point:
        return ""
    return directory.removeprefix(point) if directory.startswith(point + "/") else None


def _plain(text: str) -> str:
    """Without the octal escapes of spaces and the like."""
    return _ESCAPE.sub(lambda escape: chr(int(escape[1], 8)), text)
