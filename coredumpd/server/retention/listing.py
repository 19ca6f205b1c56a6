"""A store's dumps, from a listing alone: by namespace, one at a time, and by pod."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator

from coredumpd import errors
from coredumpd.formats import layout, names
from coredumpd.server.retention import listing
from coredumpd.store import interface


class Namespaces:
    """The store's dumps, one namespace after the other, read in threads."""

    def __init__(self, files: Iterator[interface.File]) -> None:
        self._groups = itertools.groupby(_dumps(files), key=lambda dump: dump.key.namespace)

    def next(self) -> tuple[str, list[listing.Stored]] | None:
        """The next namespace with all its dumps; None at the end."""
        for name, dumps in self._groups:
            return name, list(dumps)
        return None


def _dumps(files: Iterator[interface.File]) -> Iterator[listing.Stored]:
    """Whole dumps: core.gz comes right before meta.json. No record is read: that would be slow."""
    place, size = "", 0
    for file in files:
        where, _, name = file.path.rpartition("/")
        if name == "core.gz":
            place, size = where, file.size
        elif name == "meta.json" and place == where:
            try:
                key = layout.DumpKey(*where.split("/"))
            except (errors.Invalid, TypeError):
                continue  # `store check` tells
            yield listing.Stored(key, size, names.id_time(key.id))


def by_pod(stored: list[listing.Stored]) -> dict[str, list[listing.Stored]]:
    """Dumps by their pod's uid."""
    pods: dict[str, list[listing.Stored]] = {}
    for dump in stored:
        pods.setdefault(dump.key.pod_uid, []).append(dump)
    return pods


@dataclasses.dataclass(frozen=True)
class Stored:
    """One dump: where it is, how many bytes its core takes, when it crashed (epoch, seconds)."""

    key: layout.DumpKey
    size: int
    time_s: int


def age(dump: Stored) -> tuple[int, str]:
    """What orders dumps: the time of the crash, then the name."""
    return dump.time_s, str(dump.key)
