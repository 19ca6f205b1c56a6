"""Crash loops in the store: which dumps the collector folds into a count.

`formats.crash_loop` decides, by the records. A pass should read few records, so only sets of dumps
are looked at whose names alone show more than may keep their core, and each such set once.
"""

from __future__ import annotations

import collections
import dataclasses
import os
from collections.abc import Collection, Iterable, Iterator
from typing import Protocol

from coredumpd import errors
from coredumpd.formats import crash_loop, layout
from coredumpd.formats import record as records
from coredumpd.server.retention import listing
from coredumpd.settings import sections


class Store(Protocol):
    """The part of `store.Store` that is needed here."""

    def read_record(self, key: layout.DumpKey) -> records.CrashRecord: ...


_Loop = dict[str, tuple[layout.DumpKey, records.CrashRecord]]  # dumps of one loop, by id


@dataclasses.dataclass(frozen=True)
class Fold:
    """`counted` are to be removed once `counting`, which counts them, is in the store.

    `counting` None: it is there already.
    """

    counted: tuple[layout.DumpKey, ...]
    counting: records.CrashRecord | None


class CrashLoops:
    """Remembers, by namespace, which sets of dumps need no fold. For one thread at a time."""

    def __init__(self, store: Store, rules: sections.CrashLoopSettings) -> None:
        self._store = store
        self._rules = rules
        self._settled: dict[str, set[int]] = {}

    def folds(
        self,
        namespace: str,
        dumps: Iterable[listing.Stored],
        in_use: Collection[layout.DumpKey],
    ) -> list[Fold]:
        """The folds due among the dumps of `namespace`. Reads records; raises StorageError."""
        before, settled = self._settled.get(namespace, set()), set()
        folds: list[Fold] = []
        for crowd in crowded(dumps, self._rules):
            mark = hash(tuple(dump.key for dump in crowd))
            if mark not in before and (due := self._folds([dump.key for dump in crowd], in_use)):
                folds += due
            else:
                settled.add(mark)
        self._settled[namespace] = settled
        return folds

    def _folds(self, keys: list[layout.DumpKey], in_use: Collection[layout.DumpKey]) -> list[Fold]:
        # By node, too: whoever writes as one node must not get dumps of another one removed.
        loops: dict[tuple[str | None, crash_loop.SameCrash], _Loop]
        loops = collections.defaultdict(dict)
        for key in keys:
            try:
                record = self._store.read_record(key)
            except (errors.NotFound, errors.BadRecord):
                continue  # gone, or for `store check`
            if _is_at(record, key):
                loops[record.node, crash_loop.same_crash(record)][key.id] = key, record
        folds = []
        for loop in loops.values():
            free = {id for id, (key, _) in loop.items() if key not in in_use}
            crashes = [crash_loop.of(record) for _, record in loop.values()]
            for fold in crash_loop.choose(crashes, self._rules):
                if (part := crash_loop.within(fold, free)) is not None:
                    folds.append(_fold(part, loop))
        return folds


def _is_at(record: records.CrashRecord, key: layout.DumpKey) -> bool:
    """Is it the record of the dump that lies there? One that lies may not move others."""
    try:
        return record.key() == key
    except errors.Invalid:
        return False


def _fold(fold: crash_loop.Fold, loop: _Loop) -> Fold:
    dumps = [loop[crash.id] for crash in fold.counted]
    counting = None
    if fold.count is not None:
        (_, first), (_, last) = dumps[0], dumps[-1]
        nonce = int.from_bytes(os.urandom(2), "big")
        counting = crash_loop.counting(last, fold, crash_loop.first_time(first), nonce)
    return Fold(tuple(key for key, _ in dumps), counting)


def crowded(
    dumps: Iterable[listing.Stored], rules: sections.CrashLoopSettings
) -> Iterator[list[listing.Stored]]:
    """Sets of dumps that, by their names, may be of one loop with too many cores. Pure."""
    programs: dict[tuple[str, str, str], list[listing.Stored]] = collections.defaultdict(list)
    for dump in dumps:
        key = dump.key
        programs[key.pod_uid, key.container, crash_loop.program(key.id)].append(dump)
    cores_max = rules.first + rules.last
    for of_program in programs.values():
        if len(of_program) > cores_max:
            timed = [dump for dump in of_program if dump.time_s]
            for episode in crash_loop.episodes(timed, rules.window, listing.age):
                if len(episode) > cores_max:
                    yield episode
