"""Every crash on this node and its fate: events go in, skipped crashes come out. Pure.

The kernel's connector reports each process that begins to dump core, exactly, but not whether the
core was stored. The kernel's log says that, but the kernel suppresses lines, and in its own lines a
pid is one of the process's own namespace. So a handler's line settles the crash whose pid it names.
It counts for nothing if the connector has not reported such a crash: a handler run by hand writes
the same lines. The kernel's lines are matched with crashes by number only. A crash that no line is
about, `GRACE_S` after its process is gone, was skipped: the kernel keeps the process while its
handler lives, and the handler leaves a capture in the spool or a line in the log before it ends.

Times are seconds of any one clock; events of the two sources may come in either order.
"""

from __future__ import annotations

import collections
from typing import NamedTuple

from coredumpd.agent.skipped import kernel_lines

GRACE_S = 2.0  # for a line to arrive
UNCLAIMED_S = 10.0  # then a line counts by itself: the connector did not report its crash
UNCLAIMED_S_MAX = 600.0  # even while some process takes long to dump
RATELIMIT_S, RATELIMIT_LINES = 5.0, 10  # include/linux/ratelimit_types.h, per kind of line
SLACK_S = 1.0  # between the kernel's clock and ours
PRINTED_MAX = 1000
LOSSES_MAX = 1000  # between two turns of the accountant


class _Crash:
    __slots__ = ("begun_s", "container", "dumped", "ended_s", "tid", "unsure")

    def __init__(self, tid: int, begun_s: float, container: str | None) -> None:
        self.tid = tid
        self.container = container
        self.begun_s = begun_s
        self.ended_s: float | None = None
        self.dumped = False
        self.unsure = False  # lines were lost meanwhile


class _Early(NamedTuple):
    """A handler's line about a crash that the connector has not reported yet."""

    time_s: float
    reason: str | None  # None: the crash is stored


class Ledger:
    """The open crashes. Its size is bounded by the number of processes dumping core at a time."""

    def __init__(self) -> None:
        self._open: dict[int, _Crash] = {}
        self._early: dict[int, _Early] = {}  # handlers' lines, by pid, before their crash
        self._expected: dict[int, float] = {}  # the guard's own crashes count for nothing
        self._lost_s = float("-inf")  # when events were lost
        self._unclaimed: collections.deque[tuple[float, str | None]] = collections.deque()
        self._printed: dict[str, collections.deque[float]] = {}
        # Container's id and reason of each crash that no line named; the accountant takes them.
        self.losses: collections.deque[tuple[str, str]] = collections.deque(maxlen=LOSSES_MAX)

    @property
    def busy(self) -> bool:
        """Is something open that will be settled by time alone?"""
        return bool(self._open or self._early or self._unclaimed)

    @property
    def open(self) -> list[int]:
        """Processes that have begun to dump core and whose end was not reported."""
        return [pid for pid, crash in self._open.items() if crash.ended_s is None]

    @property
    def ended(self) -> list[int]:
        """Processes that have ended, and that no line has been about."""
        return [pid for pid, crash in self._open.items() if crash.ended_s is not None]

    def expect(self, pid: int, now: float) -> None:
        """The guard's own process `pid` is about to crash."""
        self._expected[pid] = now

    def _counted(self, pid: int, reason: str | None) -> str | None:
        """`reason`, unless the crash of `pid` was expected; it is settled now."""
        return reason if self._expected.pop(pid, None) is None else None

    def begun(self, pid: int, tid: int, now: float, container: str | None = None) -> str | None:
        """Thread `tid` of process `pid` begins to dump core; a second one is the same crash.

        `container`: the id of the one in which it is, if that could be read in time.
        Returns the reason if a handler's line has said already that the crash is skipped.
        """
        early = self._early.pop(pid, None)
        if early is not None:
            return self._counted(pid, early.reason)
        if pid not in self._open:
            self._open[pid] = _Crash(tid, now, container)
        return None

    def gone(self, pid: int, tid: int | None, dumped: bool, now: float) -> None:
        """Thread `tid` (None: any) has ended. `dumped`: the kernel says its core was consumed."""
        crash = self._open.get(pid)
        if crash is not None and crash.ended_s is None and tid in (None, crash.tid):
            crash.ended_s = now
            crash.dumped = dumped

    def lost(self, now: float) -> None:
        """The connector lost events: a handler's line may be about a crash among those."""
        self._lost_s = now

    def kept(self, pid: int) -> None:
        """A handler is capturing, or has captured, this process."""
        self._open.pop(pid, None)
        self._expected.pop(pid, None)

    def read_line(self, line: kernel_lines.Notice, now: float) -> str | None:
        """Take one line of the log; returns the reason if it settles a skipped crash."""
        if line.by == kernel_lines.HANDLER:
            return self._read_handler_line(line, now)
        if line.reason == kernel_lines.LOST_LINES:
            for crash in self._open.values():
                crash.unsure = True
        elif line.by == kernel_lines.KERNEL:
            self._unclaimed.append((now, line.reason))
            printed = self._printed.setdefault(line.reason, collections.deque(maxlen=PRINTED_MAX))
            printed.append(now)
        return None  # crashes of suppressed lines are in the connector's events

    def _read_handler_line(self, line: kernel_lines.Notice, now: float) -> str | None:
        reason = None if line.reason in kernel_lines.NO_LOSS else line.reason
        if line.pid is None:
            self._unclaimed.append((now, None))  # it is counted now, whichever crash it is about
        elif self._open.pop(line.pid, None) is None:
            self._early[line.pid] = _Early(now, reason)
            return None
        return reason if line.pid is None else self._counted(line.pid, reason)

    def settle(self, now: float) -> list[str]:
        """The reason of each crash that has turned out to be skipped."""
        silent = [
            pid
            for pid, crash in self._open.items()
            if crash.ended_s is not None and now - crash.ended_s >= GRACE_S
        ]
        reasons = [self._reason_of(pid, self._open.pop(pid)) for pid in silent]
        for pid, since_s in list(self._expected.items()):
            if now - since_s >= UNCLAIMED_S_MAX:  # its events were lost; the pid is another's now
                del self._expected[pid]
        patience_s = UNCLAIMED_S_MAX if self._open else UNCLAIMED_S
        while self._unclaimed and now - self._unclaimed[0][0] >= patience_s:
            reasons.append(self._unclaimed.popleft()[1])
        late = [pid for pid, early in self._early.items() if now - early.time_s >= UNCLAIMED_S]
        for early in map(self._early.pop, late):
            if self._lost_s >= early.time_s - UNCLAIMED_S:
                reasons.append(early.reason)
        return [reason for reason in reasons if reason is not None]

    def _reason_of(self, pid: int, crash: _Crash) -> str | None:
        """As `_cause_of`, None for one that was expected; notes the loss of a container's crash."""
        reason = self._counted(pid, self._cause_of(crash))
        if reason is not None and crash.container is not None:
            self.losses.append((crash.container, reason))
        return reason

    def _cause_of(self, crash: _Crash) -> str | None:
        """Why a crash that no line names was skipped; None: it was not, or is counted already."""
        if crash.dumped:
            # A handler took the core and wrote no line: it was killed, or the line was lost.
            return None if crash.unsure else kernel_lines.SILENT
        if self._unclaimed:
            return self._unclaimed.popleft()[1]
        for reason, printed in self._printed.items():
            since, until = crash.begun_s - RATELIMIT_S - SLACK_S, crash.begun_s + SLACK_S
            if sum(since <= time_s <= until for time_s in printed) >= RATELIMIT_LINES:
                return reason
        # A core that was read from memory is not consumed, in the kernel's words (wait(2)).
        return None if crash.unsure else kernel_lines.NOT_DUMPED
