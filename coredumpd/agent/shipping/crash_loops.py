"""Crash loops in the spool: what waits is folded before it is shipped (`coredumpd.crashloop`).

What was shipped lately is remembered, so that the first of a loop are its first; the store's own
part of a loop is the collector's matter. A restart forgets: then a loop begins anew, which costs
some cores until the collector has passed. Belongs to one event loop.
"""

from __future__ import annotations

import collections
import logging
import os
from collections.abc import Callable, Collection
from typing import Any, Protocol

from coredumpd import aiokit, errors
from coredumpd.formats import crash_loop
from coredumpd.formats import record as records
from coredumpd.settings import sections

LOOPS_MAX = 10_000  # remembered at most; the one that was quiet for longest is forgotten
_log = logging.getLogger(__name__)


class Entry(Protocol):
    """See `shipper.Entry`."""

    id: str

    def record(self) -> records.CrashRecord: ...
    def remove(self) -> None: ...


class Spool(Protocol):
    """Where a counting record is added. Blocks."""

    def add(self, crash: records.CrashRecord, core: bytes) -> None:
        """Raises AlreadyExists, StorageError."""


class Loops:
    """What is known of each container's program and signal."""

    def __init__(
        self, spool: Spool, rules: sections.CrashLoopSettings, counted: Callable[[int], None]
    ) -> None:
        """`counted` is told how many crashes lost their core."""
        self._spool = spool
        self._rules = rules
        self._counted = counted
        self._waiting: dict[str, tuple[tuple[Any, ...], crash_loop.Crash, Entry]] = {}
        self._shipped: collections.OrderedDict[tuple[Any, ...], list[crash_loop.Crash]]
        self._shipped = collections.OrderedDict()

    def waits(self, entry: Entry, crash: records.CrashRecord) -> None:
        """`entry`, which holds `crash`, is new in the spool."""
        self._waiting[entry.id] = (crash_loop.same_crash(crash), crash_loop.of(crash), entry)

    def left(self, id: str, shipped: bool) -> None:
        """It is not in the spool any more."""
        group, crash, _ = self._waiting.pop(id, (None, None, None))
        if group is None or crash is None or not shipped:
            return
        past = self._shipped.setdefault(group, [])
        self._shipped.move_to_end(group)
        past.append(crash)
        self._shipped[group] = self._of_interest(past)
        if len(self._shipped) > LOOPS_MAX:
            self._shipped.popitem(last=False)

    def _of_interest(self, past: list[crash_loop.Crash]) -> list[crash_loop.Crash]:
        """Of the latest episode, those that can still be its first or its last."""
        *_, latest = crash_loop.episodes(past, self._rules.window, crash_loop.by_age)
        own = [crash for crash in latest if crash.folded is None]
        return own[: self._rules.first] + own[self._rules.first :][-max(1, self._rules.last) :]

    def take(self, busy: Collection[str]) -> list[tuple[crash_loop.Fold, list[Entry]]]:
        """What can be folded now, without those that are being shipped; it does not wait any more.

        Each is to be given to `fold`.
        """
        groups: dict[tuple[Any, ...], list[crash_loop.Crash]] = collections.defaultdict(list)
        for group, crash, _ in self._waiting.values():
            groups[group].append(crash)
        free = self._waiting.keys() - set(busy)
        found = []
        for group, crashes in groups.items():
            everything = [*self._shipped.get(group, ()), *crashes]
            for fold in crash_loop.choose(everything, self._rules):
                if (ours := crash_loop.within(fold, free)) is not None:
                    entries = [self._waiting.pop(crash.id)[2] for crash in ours.counted]
                    found.append((ours, entries))
        return found

    async def fold(self, fold: crash_loop.Fold, entries: list[Entry]) -> None:
        """Do it. What fails is logged, and found again by the next scan of the spool."""
        try:
            await aiokit.call(self._fold, fold, entries)
        except errors.CoredumpdError as error:
            _log.warning("a crash loop is not folded yet: %s", error)

    def _fold(self, fold: crash_loop.Fold, entries: list[Entry]) -> None:
        if fold.count is not None:
            began = crash_loop.first_time(entries[0].record())
            nonce = int.from_bytes(os.urandom(2), "big")
            made = crash_loop.counting(entries[-1].record(), fold, began, nonce)
            self._spool.add(made, crash_loop.NO_CORE)
            own = sum(1 for crash in fold.counted if crash.folded is None)
            self._counted(own)
            _log.info("%s counts %d crashes of a loop, %d more", made.id, fold.count, own)
        for entry in entries:
            entry.remove()
