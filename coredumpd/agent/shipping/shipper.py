"""From the spool to the store: in order for each container, several at once, for ever.

A spool entry is freed only after the store has committed it. Nothing here gives up: a store or an
API that is away is tried again with growing, jittered pauses. An entry that can never be shipped,
because it is no dump, is set aside for a person and does not hold up the others.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Callable, Iterable
from typing import BinaryIO, Protocol

import asyncinotify

from coredumpd import aiokit, errors
from coredumpd.agent.shipping import crash_loops
from coredumpd.formats import layout
from coredumpd.formats import record as records
from coredumpd.gzipio import check
from coredumpd.settings import sections

_log = logging.getLogger(__name__)
SCAN_INTERVAL_S = 10.0  # inotify tells at once; this finds what a lost event would hide
BACKOFF_S_MIN, BACKOFF_S_MAX = 0.5, 60.0
_CRASH_LOOP = sections.CrashLoopSettings()


class Entry(Protocol):
    """One complete capture in the spool. All of it blocks."""

    id: str

    def update(self, crash: records.CrashRecord) -> None:
        """Replace the record, durably. Raises StorageError."""

    def new_sealed(self) -> contextlib.AbstractContextManager[BinaryIO]:
        """An empty file to seal the core into, gone if the block fails. Raises StorageError."""

    def put_sealed(self, crash: records.CrashRecord, sealed: BinaryIO) -> None:
        """`sealed` and `crash` take the places of core and record, durably and in one step."""

    def record(self) -> records.CrashRecord:
        """Raises BadRecord for what is no record, NotFound when it was removed, StorageError."""

    def open_core(self) -> BinaryIO:
        """Raises as `record`; BadRecord for an entry without a core."""

    def remove(self) -> None:
        """Free the disk. May be called twice."""

    def set_aside(self) -> None:
        """Keep it under a name that no scan finds, for a person to look at."""


class Spool(Protocol):
    """The spool of this node. All of it blocks."""

    path: str

    def add(self, crash: records.CrashRecord, core: bytes) -> None:
        """A new entry. Raises AlreadyExists, StorageError."""

    def entries(self) -> Iterable[Entry]:
        """Complete captures, oldest first."""


class Store(Protocol):
    """The part of `store.Store` that shipping needs; `commit` blocks and may be called twice."""

    def commit(self, key: layout.DumpKey, entry: records.CrashRecord, core: BinaryIO) -> None: ...


class Attributor(Protocol):
    """Completes a record. Raises Unavailable when trying again later makes sense."""

    async def attribute(self, crash: records.CrashRecord) -> records.CrashRecord: ...


class Sealer(Protocol):
    """Encrypts what must not leave this node as it is."""

    async def seal(self, entry: Entry, crash: records.CrashRecord) -> records.CrashRecord | None:
        """`crash` as it may be shipped, the entry with it: sealed, if its namespace wants that.

        None: it never can be, since that namespace is no more. Raises CannotSeal or StorageError
        when it must wait, BadRecord for a damaged core. Called again, it seals nothing twice.
        """


class Observer(Protocol):
    """Who is told: metrics and events. Must not raise."""

    async def shipped(self, crash: records.CrashRecord) -> None: ...
    async def refused(self, crash: records.CrashRecord) -> None: ...
    def counted(self, crashes: int) -> None: ...
    async def failed(self, id: str, error: errors.CoredumpdError) -> None: ...
    async def set_aside(self, id: str, error: errors.CoredumpdError) -> None: ...


class _GoneError(Exception):
    """The entry is not in the spool any more."""


class Shipper:
    """Ships everything that appears in `spool` to `store`, `parallel` dumps at once."""

    def __init__(
        self,
        spool: Spool,
        store: Store,
        attributor: Attributor,
        observer: Observer,
        parallel: int,
        refuses: Callable[[records.CrashRecord], bool] = lambda _: False,
        sealer: Sealer | None = None,
        crash_loop: sections.CrashLoopSettings = _CRASH_LOOP,
    ) -> None:
        """`refuses`: must an attributed crash not leave this node? Then it is removed.

        `sealer` None: nobody could ask for sealing.
        """
        self._spool = spool
        self._store = store
        self._attributor = attributor
        self._observer = observer
        self._refuses = refuses
        self._sealer = sealer
        self._slots = asyncio.Semaphore(parallel)
        self._loops = crash_loops.Loops(spool, crash_loop, observer.counted)
        self._known: set[str] = set()
        self._busy: set[str] = set()  # those that have a slot
        self._lanes: dict[str, list[Entry]] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._took_s: dict[str, float] = {}  # commits at work: when one last took bytes
        self._stopping = False

    @property
    def waiting(self) -> int:
        """Entries in the spool that are not shipped yet."""
        return len(self._known)

    @property
    def silent_s(self) -> float:
        """For how long a commit at work has taken no byte of its core; 0 when none is."""
        longest = min(self._took_s.values(), default=None)
        return 0.0 if longest is None else time.monotonic() - longest

    async def run(self) -> None:
        """Ship until cancelled; a cancelled commit leaves its entry in the spool."""
        try:
            with asyncinotify.Inotify() as inotify:
                inotify.add_watch(self._spool.path, asyncinotify.Mask.MOVED_TO)
                while True:
                    await self.scan()
                    with contextlib.suppress(TimeoutError):  # then the scan looks by itself
                        async with asyncio.timeout(SCAN_INTERVAL_S):
                            await inotify.get()
        finally:
            for task in self._tasks.values():
                task.cancel()
            await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    async def stop(self, grace_s: float) -> None:
        """Begin no more commits; give what is at work `grace_s` to finish."""
        self._stopping = True
        with contextlib.suppress(TimeoutError):  # a commit cut short is begun anew, next time
            async with asyncio.timeout(grace_s):
                while self._took_s:
                    await asyncio.sleep(0.05)

    async def scan(self) -> None:
        """Put every new entry into the lane of its container, and see that each lane is worked."""
        for entry in await aiokit.call(lambda: list(self._spool.entries())):
            if entry.id not in self._known:
                self._known.add(entry.id)
                lane = await self._lane_of(entry)
                if lane is not None:
                    self._lanes.setdefault(lane, []).append(entry)
        taken = self._loops.take(self._busy)
        for _, entries in taken:  # first of all: whoever waits to ship one finds it unknown
            self._known -= {entry.id for entry in entries}
        for fold, entries in taken:
            await self._loops.fold(fold, entries)
        for lane in self._lanes:
            if lane not in self._tasks:
                self._tasks[lane] = asyncio.create_task(self._work(lane), name=f"ship {lane}")

    async def _lane_of(self, entry: Entry) -> str | None:
        try:
            crash = await aiokit.call(entry.record)
        except errors.NotFound:
            self._known.discard(entry.id)  # shipped while the spool was being listed
            return None
        except errors.BadRecord as error:
            await self._set_aside(entry, error)
            return None
        except errors.CoredumpdError as error:
            self._known.discard(entry.id)  # the next scan tries again
            await self._observer.failed(entry.id, error)
            return None
        self._loops.waits(entry, crash)
        return str(crash.raw["containerID"] or "host")

    async def _work(self, lane: str) -> None:
        """Ship one container's dumps, oldest first, until there are none."""
        entries = self._lanes[lane]
        while entries:
            shipped = await self._ship_until_done(entries[0])
            id = entries.pop(0).id
            self._known.discard(id)
            self._loops.left(id, shipped)
        del self._lanes[lane]
        del self._tasks[lane]

    async def _ship_until_done(self, entry: Entry) -> bool:
        """Was it shipped? Else it is not in the spool any more, for one reason or another."""
        tries = 0
        while True:
            try:
                async with self._slots:
                    if entry.id not in self._known:
                        return False  # folded into the count of a crash loop meanwhile
                    self._busy.add(entry.id)
                    try:
                        crash, refused = await self._ship(entry)
                    finally:
                        self._busy.discard(entry.id)
            except _GoneError:
                return False  # somebody has removed it by hand
            except (errors.BadRecord, errors.Invalid, errors.AlreadyExists) as error:
                await self._set_aside(entry, error)
                return False
            except errors.CoredumpdError as error:
                tries += 1
                pause = backoff(tries, random.random())  # noqa: S311 (jitter, not a secret)
                _log.warning("%s not shipped, again in %.1f s: %s", entry.id, pause, error)
                await self._observer.failed(entry.id, error)
                await asyncio.sleep(pause)
            else:
                await (self._observer.refused if refused else self._observer.shipped)(crash)
                return not refused

    async def _ship(self, entry: Entry) -> tuple[records.CrashRecord, bool]:
        """(what was shipped, False), or (what had to be removed instead, True)."""
        try:
            noted = await aiokit.call(entry.record)
        except errors.NotFound as error:  # only here: a store that says so is to be tried again
            raise _GoneError from error
        crash = await self._attributor.attribute(noted)
        if self._refuses(crash):
            await aiokit.call(entry.remove)
            return crash, True
        if crash.raw != noted.raw:
            # Kept in the spool: the next try, even of the next agent, must use the same key.
            await aiokit.call(entry.update, crash)
        crash.key()  # raises Invalid for names that are none, before anything is written
        if self._sealer is not None:
            sealed = await self._sealer.seal(entry, crash)
            if sealed is None:
                await aiokit.call(entry.remove)
                return crash, True
            crash = sealed
        if self._stopping:
            raise errors.Unavailable("the agent is stopping")
        self._took_s[entry.id] = time.monotonic()
        try:
            await aiokit.call(self._commit, entry, crash)
        finally:
            del self._took_s[entry.id]
        return crash, False

    def _commit(self, entry: Entry, crash: records.CrashRecord) -> None:
        """Free the spool only after the store has it; the core is verified on its way."""

        def took() -> None:
            if entry.id in self._took_s:  # not after this agent has given it up, stopping
                self._took_s[entry.id] = time.monotonic()

        with contextlib.closing(entry.open_core()) as core:
            self._store.commit(crash.key(), crash, check.checked(core, crash, took))
        entry.remove()

    async def _set_aside(self, entry: Entry, error: errors.CoredumpdError) -> None:
        _log.error("%s can never be shipped and is set aside: %s", entry.id, error)
        try:
            await aiokit.call(entry.set_aside)
        except errors.CoredumpdError as failure:
            _log.error("%s: %s", entry.id, failure)  # the next scan finds it again
        else:
            await self._observer.set_aside(entry.id, error)
        self._known.discard(entry.id)


def backoff(tries: int, chance: float) -> float:
    """Seconds to wait after the `tries`-th failure: doubling, capped, less up to half by chance."""
    ceiling = min(BACKOFF_S_MAX, BACKOFF_S_MIN * 2 ** min(tries - 1, 16))
    return float(ceiling * (1 - chance / 2))
