"""From the spool to the store: in order for each container, several containers at once.

A spool entry is freed only after the store has committed it. Nothing here gives up: while the store
or the API is away, an entry is retried after growing, jittered pauses. An entry that can never be
shipped, because it is no valid dump, is set aside for a person and does not hold up the others.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import dataclasses
import logging
import random
import time

import asyncinotify

from coredumpd import aiokit, errors, log
from coredumpd.agent.shipping import crash_loops, delivery, kept, turns
from coredumpd.agent.shipping import entry as entries
from coredumpd.settings import sections

ERROR_CHARS_MAX = 400
_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Options:
    """How many dumps are shipped at once, what is folded, and how long to wait."""

    parallel: int
    crash_loop: sections.CrashLoopSettings = dataclasses.field(
        default_factory=sections.CrashLoopSettings
    )
    scan_interval_s: float = 10.0  # inotify reports at once; a scan finds what a lost event hides
    backoff_s_min: float = 0.5
    backoff_s_max: float = 60.0


@dataclasses.dataclass
class _Lane:
    """The entries of one container, oldest first, and the task that ships them."""

    queue: collections.deque[entries.Waiting] = dataclasses.field(default_factory=collections.deque)
    task: asyncio.Task[None] | None = None


class Shipper:
    """Ships every entry that appears in `spool`."""

    def __init__(
        self,
        spool: entries.Spool,
        deliveries: delivery.Delivery,
        reporter: entries.Reporter,
        options: Options,
        keeper: kept.Keeper,
    ) -> None:
        self._keeper = keeper
        self._spool = spool
        self._delivery = deliveries
        self._reporter = reporter
        self._options = options
        self._turns = turns.Turns(options.parallel, options.backoff_s_min, options.backoff_s_max)
        self._loops = crash_loops.Loops(spool, options.crash_loop, reporter.folded)
        self._waiting: dict[str, entries.Waiting] = {}
        self._lanes: dict[str, _Lane] = {}
        self.last_error = ""  # of the latest try that failed
        self.scan_problem: str | None = None  # why the latest scan failed

    @property
    def waiting(self) -> int:
        """Entries in the spool that are not shipped yet."""
        return len(self._waiting)

    @property
    def failing_s(self) -> float:
        """Seconds since the first failure of the entry that has failed longest; 0 if none fails."""
        since_s = [one.failing_since_s for one in self._waiting.values()]
        first_s = min((one for one in since_s if one is not None), default=None)
        return 0.0 if first_s is None else time.monotonic() - first_s

    @property
    def silent_s(self) -> float:
        """Seconds for which a running commit has taken no byte of its core; 0 if none runs."""
        last_s = min((commit.last_s for commit in self._commits()), default=None)
        return 0.0 if last_s is None else time.monotonic() - last_s

    def _commits(self) -> list[entries.Progress]:
        return [one.commit for one in self._waiting.values() if one.commit is not None]

    async def run(self) -> None:
        """Ship until cancelled; a cancelled commit leaves its entry in the spool."""
        backoff = aiokit.Backoff(self._options.backoff_s_min, self._options.backoff_s_max)
        try:
            while True:
                try:
                    await self._follow(backoff)
                except (errors.CoredumpdError, OSError) as error:
                    self._scan_failed(error)
                    await asyncio.sleep(backoff.next())
        finally:
            tasks = [lane.task for lane in self._lanes.values() if lane.task is not None]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _follow(self, backoff: aiokit.Backoff) -> None:
        """Scan at each change of the spool. Raises what the spool's disk or the kernel refused."""
        with asyncinotify.Inotify() as inotify:
            inotify.add_watch(self._spool.path, asyncinotify.Mask.MOVED_TO)
            while True:
                await self.scan()
                if self.scan_problem is not None:
                    _log.info("the spool is read again")
                self.scan_problem = None
                backoff.reset()
                with contextlib.suppress(TimeoutError):  # then it is time for a scan
                    async with asyncio.timeout(self._options.scan_interval_s):
                        await inotify.get()

    def _scan_failed(self, error: Exception) -> None:
        """Log it once, until it changes; the dumps wait."""
        problem = f"the spool cannot be read, its dumps wait: {log.escape(str(error))}"
        if problem != self.scan_problem:
            _log.error("%s", problem)
        self.scan_problem = problem

    async def stop(self, grace_s: float) -> None:
        """Begin no more commits; give the running ones `grace_s` to finish."""
        self._delivery.stopping = True
        with contextlib.suppress(TimeoutError):  # the next agent repeats a commit cut short
            async with asyncio.timeout(grace_s):
                while self._commits():
                    await asyncio.sleep(0.05)

    async def scan(self) -> None:
        """Put every new entry into the lane of its container, fold loops, start idle lanes."""
        options = self._options
        for entry in await aiokit.call(lambda: list(self._spool.entries())):
            if entry.id not in self._waiting and not self._keeper.is_waiting(entry.id):
                backoff = aiokit.Backoff(options.backoff_s_min, options.backoff_s_max)
                self._waiting[entry.id] = entries.Waiting(entry, backoff)
        for waiting in [one for one in self._waiting.values() if one.lane is None]:
            await self._place(waiting)
        folds = self._loops.choose(self._waiting)
        for _, members in folds:  # before any wait: a lane must not ship them meanwhile
            for waiting in members:
                waiting.folded = True
                self._forget(waiting)
        for fold, members in folds:
            await self._loops.fold(fold, [waiting.entry for waiting in members])
        for name, lane in self._lanes.items():
            if lane.task is None:
                lane.task = asyncio.create_task(self._work(name, lane), name=f"ship {name}")

    def _forget(self, waiting: entries.Waiting) -> None:
        if self._waiting.get(waiting.id) is waiting:
            del self._waiting[waiting.id]

    async def _place(self, waiting: entries.Waiting) -> None:
        """Append it to its container's lane; an unreadable record is read again by a later scan."""
        try:
            record = await aiokit.call(waiting.entry.record)
            waiting.read(record)
            self._reporter.arrived(record)
        except errors.NotFound:
            self._forget(waiting)  # shipped while the spool was being listed
        except errors.BadRecord as error:
            await self._set_aside(waiting, error)
        except errors.CoredumpdError as error:
            await self._failed(waiting, error)
        if waiting.lane is not None:
            self._lanes.setdefault(waiting.lane, _Lane()).queue.append(waiting)

    async def _work(self, name: str, lane: _Lane) -> None:
        """Ship one container's dumps, oldest first, until there are none."""
        while lane.queue:
            outcome = await self._ship_until_done(lane.queue[0])
            waiting = lane.queue.popleft()
            self._forget(waiting)
            if outcome is not delivery.Outcome.WITHHELD:
                self._keeper.release(waiting.id)
            if outcome is delivery.Outcome.SHIPPED and waiting.crash and waiting.group:
                self._loops.shipped(waiting.group, waiting.crash)
        del self._lanes[name]

    async def _ship_until_done(self, waiting: entries.Waiting) -> delivery.Outcome:
        while True:
            try:
                async with self._turns.turn(waiting.namespace):
                    if waiting.folded:
                        return delivery.Outcome.GONE
                    waiting.busy = True
                    try:
                        outcome = await self._delivery.attempt(waiting)
                        self._turns.resume(waiting.namespace)
                        return outcome
                    except errors.CannotSeal:
                        self._turns.pause(waiting.namespace)
                        raise
                    except OSError as error:  # of the process or the disk, as EMFILE or EIO
                        text = f"{waiting.id}: {error.strerror or error}"
                        raise errors.StorageError(text) from error
                    finally:
                        waiting.busy = False
            except (errors.BadRecord, errors.Invalid, errors.AlreadyExists) as error:
                await self._set_aside(waiting, error)
                return delivery.Outcome.GONE
            except errors.CannotAttribute as error:
                await self._keeper.withhold(waiting.id, waiting.pod or "", error)
                return delivery.Outcome.WITHHELD
            except errors.CoredumpdError as error:
                # What a server asks for, with jitter: its other agents were told the same.
                asked_s = (error.retry_after_s or 0) * random.uniform(1.0, 1.5)  # noqa: S311
                pause_s = max(waiting.backoff.next(), asked_s)
                _log.warning("%s not shipped, again in %.1f s: %s", waiting.id, pause_s, error)
                await self._failed(waiting, error)
                await asyncio.sleep(pause_s)

    async def _failed(self, waiting: entries.Waiting, error: errors.CoredumpdError) -> None:
        waiting.failed()
        self.last_error = log.escape(str(error))[:ERROR_CHARS_MAX]
        await self._reporter.failed(waiting.id, error)

    async def _set_aside(self, waiting: entries.Waiting, error: errors.CoredumpdError) -> None:
        _log.error("%s can never be shipped and is set aside: %s", waiting.id, error)
        try:
            await aiokit.call(waiting.entry.set_aside)
        except errors.CoredumpdError as failure:
            _log.error("%s: %s", waiting.id, failure)  # the next scan finds it again
        else:
            await self._reporter.set_aside(waiting.id)
        self._forget(waiting)
