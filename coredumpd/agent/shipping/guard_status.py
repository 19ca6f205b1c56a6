"""The shipper's side of the words between guard and shipper: metrics, Events, problems, replies.

Runs on the event loop; both files are small.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from coredumpd import durable, errors
from coredumpd.agent import metrics, tally
from coredumpd.formats import guard_status
from coredumpd.formats import host_dir as host_dirs

CHECK_EVERY_S = 0.5
SILENT_S_MAX = 30.0  # a guard touches its status every 2 s
PASSED = ("passed", "spool-full")  # the kernel reached the handler
REPEATS_MAX = 200  # Events of one kind at once; each raises one Event's count
_log = logging.getLogger(__name__)


class Follower:
    """Follows the guard's status: counts what it counted, reports its Events, answers it."""

    def __init__(
        self,
        host_dir: Path,
        counters: metrics.Metrics,
        event_writer: tally.NodeEvents,
        is_end: Callable[[], Awaitable[bool]],
    ) -> None:
        """`is_end`: is the installation over? Asked when the guard is leaving."""
        self._directory = host_dir / host_dirs.GUARD
        self._replies = host_dir / host_dirs.SHIPPER
        self._metrics = counters
        self._events = event_writer
        self._is_end = is_end
        self._status: guard_status.Status | None = None
        self._reply: guard_status.Reply | None = None
        self._mtime_ns = 0
        self._changed_s = time.monotonic()  # when the file was last touched
        self._problem: str | None = None

    async def run(self) -> None:
        """Follow for ever."""
        while True:
            self.refresh()
            await self._answer()
            await asyncio.sleep(CHECK_EVERY_S)

    @property
    def spool_keep_free(self) -> int | None:
        """Bytes that stay free on the spool's disk; None: the default, see `spool.room`."""
        return None if self._status is None else self._status.spool_keep_free

    def problems(self) -> list[str]:
        """The guard's problems; that it is silent is one."""
        silent_s = time.monotonic() - self._changed_s
        if silent_s > SILENT_S_MAX:
            return [f"the guard is silent for {silent_s:.0f} s: core_pattern is not watched"]
        own = [] if self._problem is None else [self._problem]
        return own + ([] if self._status is None else list(self._status.problems))

    def losses(self) -> tuple[guard_status.Loss, ...]:
        """The guard's latest losses; none of a guard that has not reported yet."""
        return () if self._status is None else self._status.losses

    def notices(self) -> list[str]:
        """The lines of a guard that is well."""
        return [] if self._status is None else list(self._status.notices)

    def refresh(self) -> None:
        """Read the status if it was touched, and count what was added to its counters."""
        try:
            directory = os.open(self._directory, durable.DIRECTORY)
            try:
                descriptor = durable.open_regular(host_dirs.GUARD_STATUS, directory)
            finally:
                os.close(directory)
            with os.fdopen(descriptor, "rb") as file:
                mtime_ns = os.fstat(descriptor).st_mtime_ns
                if mtime_ns == self._mtime_ns:
                    return
                data = file.read(guard_status.STATUS_BYTES_MAX + 1)
            status = guard_status.Status.parse(data)
        except FileNotFoundError:
            return  # not there yet; after a while it is silent
        except (errors.BadRecord, OSError) as error:
            problem = f"the guard's status is not readable: {error}"
            if problem != self._problem:
                _log.error("%s", problem)
            self._problem = problem
            return
        self._mtime_ns, self._changed_s, self._problem = mtime_ns, time.monotonic(), None
        self._count(status)
        self._status = status

    def _count(self, status: guard_status.Status) -> None:
        last = self._status
        before = last.counters if last is not None and last.guard == status.guard else {}
        for name, values in status.counters.items():
            for label, value in values.items():
                self._metrics.add(name, label, value - before.get(name, {}).get(label, 0))
        self._metrics.pattern_ours.set(status.pattern_ours)
        self._metrics.self_test_passed.set(status.self_test in PASSED)

    async def _answer(self) -> None:
        """Report the events that are new, and say so; give the verdict when the guard leaves."""
        status = self._status
        if status is None:
            return
        reply = self._reply
        if reply is None or reply.guard != status.guard:
            reply = guard_status.Reply(status.guard)
        number, ended = reply.event, reply.ended
        for event in status.events:
            if event.number > number:
                number = event.number
                for _ in range(min(event.count, REPEATS_MAX)):
                    await self._events.node(event.reason, event.message)
        if status.leaving and ended is None:
            ended = await self._is_end()
        self._put(guard_status.Reply(status.guard, number, ended))

    async def end(self) -> None:
        """Give the verdict, because this shipper ends. Reports the last events first."""
        self.refresh()
        await self._answer()
        reply = self._reply
        if reply is not None and reply.ended is None:
            ended = await self._is_end()
            self._put(guard_status.Reply(reply.guard, reply.event, ended))

    def _put(self, reply: guard_status.Reply) -> None:
        if reply == self._reply:
            return
        self._reply = reply
        try:
            directory = os.open(self._replies, durable.DIRECTORY)
            try:
                durable.write_whole_at(
                    host_dirs.SHIPPER_REPLY, directory, reply.encode(), sync=False
                )
            finally:
                os.close(directory)
        except OSError as error:
            self._reply = None  # the next turn tries again
            _log.error("the guard gets no reply: %s: %s", self._replies, error.strerror)
