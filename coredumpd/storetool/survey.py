"""What a store holds, judged by names and ages alone. Pure: no I/O."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Iterator

from coredumpd import errors
from coredumpd.formats import layout
from coredumpd.store import interface

CORE, META = "core.gz", "meta.json"
# A name of the directory engine that is no dump's: `.<id>.<nonce>.<why>`.
_LEFTOVERS = {"part": "half-written", "gone": "half-deleted", "bad": "set-aside"}


@dataclasses.dataclass(frozen=True)
class Finding:
    """Something that is not as it should be. `path` may hold any bytes: escape it when shown."""

    kind: str
    path: str
    detail: str


@dataclasses.dataclass(frozen=True)
class Place:
    """The files of one directory of the depth where dumps are, or one file elsewhere."""

    path: str
    files: dict[str, interface.File]  # by what follows `path/`
    key: layout.DumpKey | None  # whose it is: a dump's, or a leftover's if its name says so
    leftover: str | None  # "half-written", "half-deleted", "set-aside"

    @property
    def size(self) -> int:
        return sum(file.size for file in self.files.values())

    @property
    def newest_s(self) -> float:
        return max(file.modified_s for file in self.files.values())

    @property
    def note(self) -> tuple[str, str, str] | None:
        """Namespace, pod uid and name, if it is a note about a pod."""
        names = self.path.split("/")
        if len(names) != 3 or not names[2].startswith(layout.NOTE):
            return None
        return names[0], names[1], names[2].removeprefix(layout.NOTE)

    @property
    def is_dump(self) -> bool:
        """Both files are there, under a name that is a dump's."""
        return self.key is not None and self.leftover is None and {CORE, META} <= set(self.files)


def places(files: Iterable[interface.File]) -> Iterator[Place]:
    """Files, sorted as a store sorts them, by the place they are in."""
    for path, group in itertools.groupby(files, _place):
        here = {file.path.removeprefix(path).removeprefix("/"): file for file in group}
        names = path.removesuffix("/").split("/")
        key, leftover = None, None
        if len(names) == 4:
            id, leftover = _leftover(names[3])
            try:
                key = layout.DumpKey(names[0], names[1], names[2], id)
            except errors.Invalid:
                leftover = None
        yield Place(path, here, key, leftover)


def by_name(place: Place, now_s: float, grace_s: float) -> Iterator[Finding]:
    """What the names in `place` tell. A dump tells nothing; it has to be read."""
    young = now_s - place.newest_s < grace_s
    if place.note is not None:
        return
    if place.key is None:
        yield Finding("stray", place.path, "no part of a dump; left alone")
    elif place.leftover is not None:
        if young and place.leftover == "half-written":
            yield Finding("in-progress", place.path, "being written, or left not long ago")
        else:
            yield Finding(place.leftover, place.path, f"{place.size} bytes of {place.key}")
    elif place.is_dump:
        for name, file in place.files.items():
            if name.startswith(f"{META}.") and name.endswith(".bad"):
                yield Finding("set-aside", file.path, f"{file.size} bytes of {place.key}")
    elif CORE in place.files and young:
        yield Finding("in-progress", place.path, "a core whose record may still come")
    elif CORE in place.files:
        yield Finding("no-record", place.path, f"a core of {place.size} bytes without meta.json")
    elif META in place.files:
        yield Finding("no-core", place.path, "meta.json without a core")
    else:
        yield Finding("stray", place.path, "no part of a dump; left alone")


def _place(file: interface.File) -> str:
    names = file.path.split("/")
    return "/".join(names[:4]) if len(names) >= 5 else file.path


def _leftover(name: str) -> tuple[str, str | None]:
    """The id in a leftover's name and what it is; any other name as it is."""
    body, _, why = name.rpartition(".")
    id, _, nonce = body.rpartition(".")
    if not name.startswith(".") or why not in _LEFTOVERS or not nonce:
        return name, None
    return id[1:], _LEFTOVERS[why]
