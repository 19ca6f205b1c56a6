"""Accounts for every crash on this node: stored, or skipped for a reason that is counted.

There are two sources, the kernel's log (`kernel_lines`) and its connector; `ledger` combines them.
Without the connector only the log counts: late at the end of a storm, and not exactly.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import logging
import os
import time
from pathlib import Path

from coredumpd import aiokit, errors
from coredumpd.agent import tally
from coredumpd.agent.skipped import connector, kernel_lines, ledger
from coredumpd.formats import cgroup, event_reasons, kernel_log
from coredumpd.spool import entries

EVENTS_AT_ONCE_MAX = 200
TICK_S = 1.0  # while something is open
_log = logging.getLogger(__name__)


class Accountant:
    """Counts every skipped crash, and writes Events about those skipped against the settings."""

    def __init__(
        self,
        counters: tally.Tally,
        event_writer: tally.NodeEvents,
        spool: entries.Spool,
        path: str = kernel_log.KMSG,
        cgroup_root: str = "/",
    ) -> None:
        """`cgroup_root`: the kubelet's, as in policy.cgroupRoot."""
        self._tally = counters
        self._events = event_writer
        self._spool = spool
        self._path = path
        self._cgroup_root = cgroup_root
        self._ledger: ledger.Ledger | None = None
        self._unreported: collections.Counter[str] = collections.Counter()
        self._changed = asyncio.Event()
        self._problem: str | None = None
        self._expected: int | None = None  # without a ledger: the guard's own crash
        self._latest: int | None = None  # it may be over, and its events still wait to be read

    def expect(self, pid: int | None) -> None:
        """The guard's own process `pid` is about to crash, which is not counted; None: it has."""
        if pid is not None:
            self._latest = pid
            if self._ledger is not None:
                self._ledger.expect(pid, time.monotonic())
        self._expected = pid

    async def run(self) -> None:
        """Account for ever. If the kernel's log is not readable, log that and count nothing."""
        try:
            kmsg = os.open(self._path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            _log.warning("skipped crashes are not counted: %s: %s", self._path, error.strerror)
            await asyncio.Event().wait()  # a job never ends
            return
        loop = asyncio.get_running_loop()
        with contextlib.ExitStack() as stack:
            stack.callback(os.close, kmsg)
            os.lseek(kmsg, 0, os.SEEK_END)
            try:
                subscription = await aiokit.call(connector.Connector)
            except errors.Unavailable as error:
                _log.warning("skipped crashes are counted by the kernel's log alone: %s", error)
            else:
                stack.callback(subscription.close)
                self._ledger = ledger.Ledger()
                if self._latest is not None:
                    self._ledger.expect(self._latest, time.monotonic())
                loop.add_reader(subscription, self._receive, subscription, self._ledger)
                stack.callback(loop.remove_reader, subscription)
            loop.add_reader(kmsg, self._read, kmsg)
            stack.callback(loop.remove_reader, kmsg)
            while True:
                await self._turn()

    async def _turn(self) -> None:
        """Wait for a crash, or for time to pass while one is open; then report."""
        busy = self._ledger is not None and self._ledger.busy
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(TICK_S if busy else None):
                await self._changed.wait()
        self._changed.clear()
        if self._ledger is not None:
            self._settle(self._ledger)
        unreported, self._unreported = self._unreported, collections.Counter()
        for reason, count in unreported.items():
            await self._report(reason, count)

    def _read(self, kmsg: int) -> None:
        now = time.monotonic()
        for line in kernel_lines.read(kmsg):
            if line.container is not None and not self._is_no_loss(line):
                self._tally.losses.add(line.container, line.reason, line.problem)
            if self._ledger is not None:
                self._count(self._ledger.read_line(line, now))
            elif self._expected is not None and _may_be_about(line, self._expected):
                self._expected = None
            elif line.reason not in (*kernel_lines.NO_LOSS, kernel_lines.LOST_LINES):
                self._count(line.reason, line.crashes)

    def _is_no_loss(self, line: kernel_lines.Notice) -> bool:
        expected = self._expected is not None and line.pid == self._expected
        return expected or line.reason in kernel_lines.NO_LOSS

    def _receive(self, subscription: connector.Connector, crashes: ledger.Ledger) -> None:
        now = time.monotonic()
        received, lost = subscription.read()
        for event in received:
            if event.ended:
                crashes.gone(event.pid, event.tid, event.dumped, now)
            else:
                container = self._container_of(event.pid, event.tid)
                self._count(crashes.begun(event.pid, event.tid, now, container))
        if lost:
            _log.warning(
                "events of the kernel's connector were lost: more crashes than it can report"
            )
            crashes.lost(now)
            for pid in crashes.open:
                if not os.path.exists(f"/proc/{pid}"):
                    crashes.gone(pid, None, False, now)
        self._settle(crashes)  # at once: what is shipped later is not in the spool any more
        self._changed.set()

    def _settle(self, crashes: ledger.Ledger) -> None:
        if crashes.ended:
            try:
                in_spool = self._spool.pids()
            except OSError as error:
                self._log_once(f"skipped crashes are counted later: the spool: {error.strerror}")
                return
            self._log_once(None)
            for pid in in_spool.intersection(crashes.ended):
                crashes.kept(pid)
        for reason in crashes.settle(time.monotonic()):
            self._count(reason)
        while crashes.losses:
            container, reason = crashes.losses.popleft()
            self._tally.losses.add(container, reason)

    def _container_of(self, pid: int, tid: int) -> str | None:
        """The id of a dying thread's container; None for one in none, or gone already.

        The kernel keeps a process only while a handler has it: without one, this is a race.
        """
        try:
            text = Path(f"/proc/{pid}/task/{tid}/cgroup").read_bytes()
            place = cgroup.place(text, self._cgroup_root)
        except (OSError, errors.Conflict):
            return None
        return None if place is None else place.container_id

    def _log_once(self, problem: str | None) -> None:
        if problem is not None and problem != self._problem:
            _log.error("%s", problem)
        self._problem = problem

    def _count(self, reason: str | None, count: int = 1) -> None:
        if reason is not None:
            self._tally.skipped.inc(count, reason)
            self._unreported[reason] += count
            self._changed.set()

    async def _report(self, reason: str, count: int) -> None:
        if reason in kernel_lines.ADVICE:
            advice = kernel_lines.ADVICE[reason]
            _log.warning("%d crashes were not captured: %s", count, advice)
            for _ in range(min(count, EVENTS_AT_ONCE_MAX)):  # each raises the Event's count
                await self._events.node(
                    event_reasons.SKIPPED, f"a crash was not captured: {advice}"
                )


def _may_be_about(line: kernel_lines.Notice, pid: int) -> bool:
    """The kernel's lines name no process that we could compare: while one is expected, it is it."""
    return line.pid == pid or (line.by == kernel_lines.KERNEL and line.crashes == 1)
