"""Folds crash loops in the spool before they are shipped; see `coredumpd.formats.crash_loop`.

The crashes shipped lately are remembered, so that the first cores of a loop are kept only once; the
server's collector folds what is in the store. A restart forgets them: then a loop begins anew,
which costs some cores until the collector has passed. Belongs to one event loop.
"""

from __future__ import annotations

import collections
import logging
import os
from collections.abc import Callable, Mapping, MutableMapping

from coredumpd import aiokit, cache, errors
from coredumpd.agent.shipping import entry as entries
from coredumpd.formats import crash_loop
from coredumpd.settings import sections

LOOPS_MAX = 10_000  # remembered at most; the one that was quiet for longest is forgotten
_log = logging.getLogger(__name__)


class Loops:
    """The recent crashes of each container's program and signal."""

    def __init__(
        self,
        spool: entries.Spool,
        rules: sections.CrashLoopSettings,
        on_folded: Callable[[int], None],
    ) -> None:
        """`on_folded` is called with the number of crashes that lost their core."""
        self._spool = spool
        self._rules = rules
        self._on_folded = on_folded
        self._shipped: MutableMapping[crash_loop.SameCrash, list[crash_loop.Crash]]
        self._shipped = cache.recent(LOOPS_MAX)

    def shipped(self, group: crash_loop.SameCrash, crash: crash_loop.Crash) -> None:
        """`crash`, one of `group`, is in the store."""
        self._shipped[group] = self._latest([*self._shipped.get(group, ()), crash])

    def _latest(self, past: list[crash_loop.Crash]) -> list[crash_loop.Crash]:
        """Of the latest episode, those that can still be its first or its last."""
        *_, latest = crash_loop.episodes(past, self._rules.window, crash_loop.by_age)
        own = [crash for crash in latest if crash.folded is None]
        return own[: self._rules.first] + own[self._rules.first :][-max(1, self._rules.last) :]

    def choose(
        self, waiting: Mapping[str, entries.Waiting]
    ) -> list[tuple[crash_loop.Fold, list[entries.Waiting]]]:
        """The folds that are possible now, with their entries; busy ones stay. Changes nothing."""
        groups: dict[crash_loop.SameCrash, list[crash_loop.Crash]] = collections.defaultdict(list)
        for one in waiting.values():
            if one.group is not None and one.crash is not None:
                groups[one.group].append(one.crash)
        free = {id for id, one in waiting.items() if not one.busy}
        folds = []
        for group, crashes in groups.items():
            for fold in crash_loop.choose([*self._shipped.get(group, ()), *crashes], self._rules):
                if (part := crash_loop.within(fold, free)) is not None:
                    folds.append((part, [waiting[crash.id] for crash in part.counted]))
        return folds

    async def fold(self, fold: crash_loop.Fold, members: list[entries.Entry]) -> None:
        """Replace `members` by one record. A failure is logged; the next scan finds them again."""
        try:
            await aiokit.call(self._fold, fold, members)
        except errors.CoredumpdError as error:
            _log.warning("a crash loop is not folded yet: %s", error)

    def _fold(self, fold: crash_loop.Fold, members: list[entries.Entry]) -> None:
        if fold.count is not None:
            first_time = crash_loop.first_time(members[0].record())
            nonce = int.from_bytes(os.urandom(2), "big")
            record = crash_loop.counting(members[-1].record(), fold, first_time, nonce)
            self._spool.add(record, crash_loop.NO_CORE)
            crashes = sum(1 for crash in fold.counted if crash.folded is None)
            self._on_folded(crashes)
            _log.info("%s counts %d crashes of a loop, %d more", record.id, fold.count, crashes)
        for entry in members:
            entry.remove()
