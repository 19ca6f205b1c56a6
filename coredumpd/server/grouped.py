"""A store's dumps, from a listing alone: by namespace, one at a time, and by pod."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from coredumpd import errors, record, store
from coredumpd.server import vacuum


class Namespaces:
    """The store's dumps, one namespace after the other, read in threads."""

    def __init__(self, files: Iterator[store.File]) -> None:
        self._groups = itertools.groupby(_dumps(files), key=lambda dump: dump.key.namespace)

    def next(self) -> tuple[str, list[vacuum.Stored]] | None:
        """The next namespace with all its dumps; None at the end."""
        for name, dumps in self._groups:
            return name, list(dumps)
        return None


def _dumps(files: Iterator[store.File]) -> Iterator[vacuum.Stored]:
    """Whole dumps: core.gz comes right before meta.json. No record is read: that would be slow."""
    place, size = "", 0
    for file in files:
        where, _, name = file.path.rpartition("/")
        if name == "core.gz":
            place, size = where, file.size
        elif name == "meta.json" and place == where:
            try:
                key = record.DumpKey(*where.split("/"))
            except (errors.Invalid, TypeError):
                continue  # `store check` tells
            yield vacuum.Stored(key, size, record.id_time(key.id))


def by_pod(stored: list[vacuum.Stored]) -> dict[str, list[vacuum.Stored]]:
    """Dumps by their pod's uid."""
    pods: dict[str, list[vacuum.Stored]] = {}
    for dump in stored:
        pods.setdefault(dump.key.pod_uid, []).append(dump)
    return pods
