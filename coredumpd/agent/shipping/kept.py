"""Dumps that stay on the node, within bounds: withheld ones, and those set aside as `<id>.bad`.

A withheld dump is complete, but nothing proves whose it is, and somebody's rules may forbid that it
leaves the node. It is tried again from time to time, and holds up no other. Beyond the bounds of
`agent.kept…`, those of the pod with the most bytes go first, the oldest of them.
"""

from __future__ import annotations

import asyncio
import collections
import dataclasses
import logging
import time
from collections.abc import Collection
from typing import Protocol

from coredumpd import aiokit, errors
from coredumpd.formats import event_reasons

RETRY_S = 60.0
PRUNE_EVERY_S = 30.0
_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Bounds:
    """Of each of the two kinds."""

    entries_max: int = 100
    bytes_max: int = 1024**3
    age_s_max: float = 7 * 86400.0


@dataclasses.dataclass(frozen=True)
class Dump:
    """`name`: of its directory in the spool; `pod`: the uid, "" where it is not known."""

    name: str
    pod: str
    size: int
    since_s: float  # since the epoch


def excess(dumps: Collection[Dump], bounds: Bounds, now_s: float) -> list[Dump]:
    """Those that must go. Pure."""
    gone = [dump for dump in dumps if now_s - dump.since_s > bounds.age_s_max]
    pods: dict[str, list[Dump]] = collections.defaultdict(list)
    for dump in sorted(set(dumps) - set(gone), key=lambda dump: (dump.since_s, dump.name)):
        pods[dump.pod].append(dump)
    count = sum(map(len, pods.values()))
    size = sum(dump.size for own in pods.values() for dump in own)
    while count > bounds.entries_max or size > bounds.bytes_max:
        over_bytes = size > bounds.bytes_max

        def weight(pod: str, by_bytes: bool = over_bytes) -> tuple[int, str]:
            own = pods[pod]
            return (sum(dump.size for dump in own) if by_bytes else len(own)), pod

        heaviest = pods[max(filter(pods.__getitem__, pods), key=weight)]
        victim = heaviest.pop(0)
        gone.append(victim)
        count, size = count - 1, size - victim.size
    return gone


class Spool(Protocol):
    """The part of `spool.entries.Spool` that is needed here. Every method blocks."""

    def aside(self) -> list[tuple[str, int, float]]:
        """(name, bytes, seconds since the epoch) of each entry that was set aside."""

    def size_and_time(self, name: str) -> tuple[int, float]:
        """Bytes of an entry, and when it was captured. Raises NotFound."""

    def discard(self, name: str) -> None:
        """Remove an entry of any kind. Raises StorageError."""


class Reporter(Protocol):
    """Counts what is dropped. Must not raise."""

    def dropped(self, reason: str, text: str) -> None: ...


class Events(Protocol):
    """Writes Events about this node. Must not raise."""

    async def node(self, reason: str, message: str) -> None: ...


class Keeper:
    """Remembers the withheld dumps and keeps both kinds within bounds. Of one event loop."""

    def __init__(
        self, spool: Spool, bounds: Bounds, reporter: Reporter, event_writer: Events
    ) -> None:
        self._spool = spool
        self._bounds = bounds
        self._reporter = reporter
        self._events = event_writer
        self._withheld: dict[str, Dump] = {}
        self._retry_s: dict[str, float] = {}
        self._problem: str | None = None

    @property
    def count(self) -> int:
        """How many dumps are withheld."""
        return len(self._withheld)

    def notices(self) -> list[str]:
        """For /healthz: what stays on the node."""
        text = "dumps stay on the node: nothing proves whose they are"
        return [f"{self.count} {text}"] if self.count else []

    def is_waiting(self, id: str) -> bool:
        """Is it withheld, and not to be tried again yet?"""
        return self._retry_s.get(id, 0.0) > time.monotonic()

    def release(self, id: str) -> None:
        """It is shipped, or gone."""
        self._withheld.pop(id, None)
        self._retry_s.pop(id, None)

    async def withhold(self, id: str, pod: str, error: errors.CannotAttribute) -> None:
        """Keep it here. The first time, this is logged, and an Event on the Node is written."""
        self._retry_s[id] = time.monotonic() + RETRY_S
        if id in self._withheld:
            return
        try:
            size, since_s = await aiokit.call(self._spool.size_and_time, id)
        except errors.CoredumpdError as failure:
            _log.warning("%s: %s", id, failure)
            return
        self._withheld[id] = Dump(id, pod, size, since_s)
        _log.warning("withheld %s", error)
        text = "core dumps stay on this node, because nothing proves whose they are"
        await self._events.node(event_reasons.WITHHELD, text)
        await self.prune()

    async def run(self) -> None:
        """Keep the bounds for ever."""
        while True:
            await self.prune()
            await asyncio.sleep(PRUNE_EVERY_S)

    async def prune(self) -> None:
        """Remove what is beyond the bounds. A failure is logged once."""
        now_s = time.time()
        try:
            facts = await aiokit.call(self._spool.aside)
            aside = [Dump(name, "", size, since_s) for name, size, since_s in facts]
            for dump in excess(self._withheld.values(), self._bounds, now_s):
                await self._drop(dump, "unattributed", "nothing proved whose it was")
                self.release(dump.name)
            for dump in excess(aside, self._bounds, now_s):
                await self._drop(dump, "set-aside", "it could not be shipped")
        except errors.CoredumpdError as error:
            if str(error) != self._problem:
                _log.error("dumps that stay on the node are not removed: %s", error)
            self._problem = str(error)
        else:
            self._problem = None

    async def _drop(self, dump: Dump, reason: str, why: str) -> None:
        await aiokit.call(self._spool.discard, dump.name)
        self._reporter.dropped(reason, f"{dump.name}: {why}, and agent.kept… allows no more")
