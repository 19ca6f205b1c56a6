"""A store's dumps, from a listing alone: by namespace, one at a time, and by pod."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Iterator

from coredumpd import errors
from coredumpd.formats import layout, names
from coredumpd.store import interface


@dataclasses.dataclass(frozen=True)
class Stored:
    """One dump: its key, the bytes that its core takes, when it crashed (epoch, seconds)."""

    key: layout.DumpKey
    size: int
    time_s: int


class Namespaces:
    """The store's dumps, one namespace after the other, read in threads."""

    def __init__(self, files: Iterator[interface.File]) -> None:
        self._groups = itertools.groupby(_dumps(files), key=lambda dump: dump.key.namespace)

    def next(self) -> tuple[str, list[Stored]] | None:
        """The next namespace with all its dumps; None at the end."""
        for name, dumps in self._groups:
            return name, list(dumps)
        return None


def by_pod(dumps: Iterable[Stored]) -> dict[str, list[Stored]]:
    """Dumps by their pod's uid."""
    pods: dict[str, list[Stored]] = {}
    for dump in dumps:
        pods.setdefault(dump.key.pod_uid, []).append(dump)
    return pods


def age(dump: Stored) -> tuple[int, int, str]:
    """Sort key: the time of the crash; within a second the pid, which counts up; then the key."""
    return dump.time_s, names.pid_of(dump.key.id) or 0, str(dump.key)


def _dumps(files: Iterator[interface.File]) -> Iterator[Stored]:
    """Whole dumps: core.gz, core.index and meta.json sort so. Reads no record: too slow."""
    core_directory, size = "", 0
    for file in files:
        directory, _, name = file.path.rpartition("/")
        if name == layout.CORE:
            core_directory, size = directory, file.size
        elif name == layout.INDEX and core_directory == directory:
            size += file.size
        elif name == layout.META and core_directory == directory:
            try:
                key = layout.DumpKey(*directory.split("/"))
            except (errors.Invalid, TypeError):
                continue  # `store check` reports it
            yield Stored(key, size, names.id_time(key.id))
