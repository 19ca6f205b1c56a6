"""Crash loops in the store: what may not keep its core is folded into a count, by the collector.

`coredumpd.crashloop` decides, by the records. A pass reads no records, so this looks only where the
names alone show more dumps than may keep their core, and once at each such set of dumps.
"""

from __future__ import annotations

import collections
import dataclasses
import os
from collections.abc import Collection, Iterable, Iterator
from typing import Any, Protocol

from coredumpd import errors
from coredumpd.formats import crash_loop, layout
from coredumpd.formats import record as records
from coredumpd.server.retention import listing
from coredumpd.settings import sections


class Store(Protocol):
    """The part of `store.Store` that is needed here."""

    def read_record(self, key: layout.DumpKey) -> records.CrashRecord: ...


@dataclasses.dataclass(frozen=True)
class Thinned:
    """`victims` go once `made`, which counts them, is in the store; None: it is there already."""

    victims: tuple[layout.DumpKey, ...]
    made: records.CrashRecord | None


class Thinner:
    """Remembers, by namespace, which sets of dumps need nothing. For one thread at a time."""

    def __init__(self, stored: Store, rules: sections.CrashLoopSettings) -> None:
        self._store = stored
        self._rules = rules
        self._settled: dict[str, set[int]] = {}

    def look(
        self,
        namespace: str,
        stored: Iterable[listing.Stored],
        in_use: Collection[layout.DumpKey],
    ) -> list[Thinned]:
        """What is to be done among the dumps of `namespace`. Reads records; raises StorageError."""
        before, settled = self._settled.get(namespace, set()), set()
        found: list[Thinned] = []
        for dumps in crowded(stored, self._rules):
            mark = hash(tuple(dump.key for dump in dumps))
            if mark not in before:
                todo = self._of([dump.key for dump in dumps], in_use)
                found += todo
                if todo:
                    continue
            settled.add(mark)
        self._settled[namespace] = settled
        return found

    def _of(self, keys: list[layout.DumpKey], in_use: Collection[layout.DumpKey]) -> list[Thinned]:
        loops: dict[tuple[Any, ...], dict[str, tuple[layout.DumpKey, records.CrashRecord]]]
        loops = collections.defaultdict(dict)
        for key in keys:
            try:
                crash = self._store.read_record(key)
            except (errors.NotFound, errors.BadRecord):
                continue  # gone, or for `store check`
            loops[crash_loop.same_crash(crash)][key.id] = key, crash
        found = []
        for dumps in loops.values():
            free = {id for id, (key, _) in dumps.items() if key not in in_use}
            crashes = [crash_loop.of(crash) for _, crash in dumps.values()]
            for fold in crash_loop.choose(crashes, self._rules):
                if (ours := crash_loop.within(fold, free)) is not None:
                    found.append(_thinned(ours, dumps))
        return found


def _thinned(
    fold: crash_loop.Fold, dumps: dict[str, tuple[layout.DumpKey, records.CrashRecord]]
) -> Thinned:
    chosen = [dumps[crash.id] for crash in fold.counted]
    made = None
    if fold.count is not None:
        began = crash_loop.first_time(chosen[0][1])
        made = crash_loop.counting(chosen[-1][1], fold, began, int.from_bytes(os.urandom(2), "big"))
    return Thinned(tuple(key for key, _ in chosen), made)


def crowded(
    stored: Iterable[listing.Stored], rules: sections.CrashLoopSettings
) -> Iterator[list[listing.Stored]]:
    """Dumps whose names say that they may be of one loop, and too many. Pure."""
    programs: dict[tuple[str, str, str], list[listing.Stored]] = collections.defaultdict(list)
    for dump in stored:
        key = dump.key
        programs[key.pod_uid, key.container, crash_loop.program(key.id)].append(dump)
    most = rules.first + rules.last
    for dumps in programs.values():
        if len(dumps) > most:
            ours = [dump for dump in dumps if dump.time_s]
            for episode in crash_loop.episodes(ours, rules.window, listing.age):
                if len(episode) > most:
                    yield episode
