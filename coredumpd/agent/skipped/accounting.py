"""Sees that every crash of this node is stored or counted as skipped, and tells of the latter.

Two sources: the kernel's log (`skipped`) and its connector; `ledger` puts them together. Without
the connector the log alone counts: late for the end of a storm, and not exactly.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import logging
import os
import time

from coredumpd import aiokit, errors
from coredumpd.agent import events, metrics
from coredumpd.agent.skipped import connector, kernel_lines, ledger
from coredumpd.spool import entries

EVENT = "CoreDumpSkipped"
TOLD_AT_ONCE_MAX = 200
TICK_S = 1.0  # while something is open
_log = logging.getLogger(__name__)


class Watcher:
    """Counts every skipped crash and tells of those that nobody wanted skipped."""

    def __init__(
        self,
        counters: metrics.Metrics,
        teller: events.Events,
        spool: entries.Spool,
        path: str = kernel_lines.KMSG,
    ) -> None:
        self._metrics = counters
        self._events = teller
        self._spool = spool
        self._path = path
        self._ledger: ledger.Ledger | None = None
        self._untold: collections.Counter[str] = collections.Counter()
        self._news = asyncio.Event()

    async def run(self) -> None:
        """For ever. Without a readable kernel log nothing is counted, and that is logged."""
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
                told = await aiokit.call(connector.Connector)
            except errors.Unavailable as error:
                _log.warning("skipped crashes are counted by the kernel's log alone: %s", error)
            else:
                stack.callback(told.close)
                self._ledger = ledger.Ledger()
                loop.add_reader(told, self._hear, told, self._ledger)
                stack.callback(loop.remove_reader, told)
            loop.add_reader(kmsg, self._read, kmsg)
            stack.callback(loop.remove_reader, kmsg)
            while True:
                await self._turn()

    async def _turn(self) -> None:
        """Wait for news, or for time to pass while something is open; then tell."""
        busy = self._ledger is not None and self._ledger.busy
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(TICK_S if busy else None):
                await self._news.wait()
        self._news.clear()
        if self._ledger is not None:
            self._settle(self._ledger)
        untold, self._untold = self._untold, collections.Counter()
        for reason, count in untold.items():
            await self._tell(reason, count)

    def _read(self, kmsg: int) -> None:
        now = time.monotonic()
        for said in kernel_lines.read(kmsg):
            if self._ledger is not None:
                self._count(self._ledger.said(said, now))
            elif said.reason not in (kernel_lines.STORED, kernel_lines.LOST_LINES):
                self._count(said.reason, said.crashes)

    def _hear(self, told: connector.Connector, crashes: ledger.Ledger) -> None:
        now = time.monotonic()
        found, lost = told.read()
        for event in found:
            if event.ended:
                crashes.gone(event.pid, event.tid, event.dumped, now)
            else:
                self._count(crashes.begun(event.pid, event.tid, now))
        if lost:
            _log.warning(
                "events of the kernel's connector were lost: more crashes than it can tell"
            )
            crashes.lost(now)
            for pid in crashes.open:
                if not os.path.exists(f"/proc/{pid}"):
                    crashes.gone(pid, None, False, now)
        self._settle(crashes)  # at once: what is shipped later is not in the spool any more
        self._news.set()

    def _settle(self, crashes: ledger.Ledger) -> None:
        if crashes.ended:
            for pid in self._spool.pids().intersection(crashes.ended):
                crashes.kept(pid)
        for reason in crashes.settle(time.monotonic()):
            self._count(reason)

    def _count(self, reason: str | None, count: int = 1) -> None:
        if reason is not None:
            self._metrics.skipped.labels(reason).inc(count)
            self._untold[reason] += count
            self._news.set()

    async def _tell(self, reason: str, count: int) -> None:
        if reason in kernel_lines.ADVICE:
            advice = kernel_lines.ADVICE[reason]
            _log.warning("%d crashes were not captured: %s", count, advice)
            for _ in range(min(count, TOLD_AT_ONCE_MAX)):  # each raises the Event's count
                await self._events.node(EVENT, f"a crash was not captured: {advice}")
