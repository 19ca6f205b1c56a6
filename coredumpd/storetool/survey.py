"""The files of a store, judged by their names and ages alone. Pure: no I/O."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Iterator

from coredumpd import errors
from coredumpd.formats import layout
from coredumpd.store import interface

CORE, INDEX, META = layout.CORE, layout.INDEX, layout.META
# The directory engine names a directory that is not a dump `.<id>.<nonce>.<suffix>`.
_LEFTOVERS = {"part": "half-written", "gone": "half-deleted", "bad": "set-aside"}


@dataclasses.dataclass(frozen=True)
class Finding:
    """A problem of a store. `path` may hold any bytes: escape it before printing."""

    kind: str
    path: str
    detail: str


@dataclasses.dataclass(frozen=True)
class Place:
    """The files of one directory of the depth where dumps are, or one file elsewhere."""

    path: str
    files: dict[str, interface.File]  # by what follows `path/`
    key: layout.DumpKey | None  # of the dump, or of the one that a leftover was part of
    leftover: str | None  # "half-written", "half-deleted", "set-aside"

    @property
    def size(self) -> int:
        return sum(file.size for file in self.files.values())

    @property
    def newest_s(self) -> float:
        return max(file.modified_s for file in self.files.values())

    @property
    def note(self) -> tuple[str, str, str] | None:
        """Namespace, pod uid and name of the note about a pod; None if it is none."""
        names = self.path.split("/")
        if len(names) != 3 or not names[2].startswith(layout.NOTE):
            return None
        return names[0], names[1], names[2].removeprefix(layout.NOTE)

    @property
    def is_dump(self) -> bool:
        """Both files are there, under a name that is a dump's."""
        return self.key is not None and self.leftover is None and {CORE, META} <= set(self.files)


def places(files: Iterable[interface.File]) -> Iterator[Place]:
    """Group files, sorted as a store sorts them, by the place they are in."""
    for path, group in itertools.groupby(files, _place_path):
        files_below = {file.path.removeprefix(path).removeprefix("/"): file for file in group}
        names = path.removesuffix("/").split("/")
        key, leftover = None, None
        if len(names) == 4:
            id, leftover = _leftover(names[3])
            try:
                key = layout.DumpKey(names[0], names[1], names[2], id)
            except errors.Invalid:
                leftover = None
        yield Place(path, files_below, key, leftover)


def findings(place: Place, now_s: float, grace_s: float) -> list[Finding]:
    """Problems that names and ages show. The files of a dump have to be read: see `verify`."""
    if place.note is not None:
        return []
    if place.is_dump:
        return [
            Finding("set-aside", file.path, f"{file.size} bytes of {place.key}")
            for name, file in place.files.items()
            if name.startswith(f"{META}.") and name.endswith(".bad")
        ]
    young = now_s - place.newest_s < grace_s
    kind, detail = _problem(place, young)
    return [Finding(kind, place.path, detail)]


def _problem(place: Place, young: bool) -> tuple[str, str]:
    """The kind of a finding and its detail, for a place that is neither a dump nor a note."""
    if place.key is not None and place.leftover is not None:
        if young and place.leftover == "half-written":
            return "in-progress", "being written, or left not long ago"
        return place.leftover, f"{place.size} bytes of {place.key}"
    if place.key is not None and CORE in place.files:
        if young:
            return "in-progress", "a core whose record may still come"
        return "no-record", f"a core of {place.size} bytes without meta.json"
    if place.key is not None and META in place.files:
        return "no-core", "meta.json without a core"
    return "stray", "no part of a dump; left alone"


def _place_path(file: interface.File) -> str:
    names = file.path.split("/")
    return "/".join(names[:4]) if len(names) >= 5 else file.path


def _leftover(name: str) -> tuple[str, str | None]:
    """The id and the kind that the name of a leftover has; any other name and None."""
    body, _, suffix = name.rpartition(".")
    id, _, nonce = body.rpartition(".")
    if not name.startswith(".") or suffix not in _LEFTOVERS or not nonce:
        return name, None
    return id[1:], _LEFTOVERS[suffix]
