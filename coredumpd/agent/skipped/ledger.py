"""Every crash of this node and what became of it: events in, skipped crashes out. Pure.

The kernel's connector tells of each process that begins to dump core, exactly, but not what became
of it. The kernel's log tells that, but the kernel keeps lines back, and names a process by the pid
of its own namespace, which is nobody else's. So a handler's words settle the crash whose pid they
name, and count for nothing if the connector knows of no such crash: whoever runs a handler by hand
writes the same log. The kernel's lines are matched with crashes by number. What nobody said a word
about, `GRACE_S` after its process is gone, was skipped: while a handler lives, the kernel keeps the
process, and it leaves a capture in the spool or a line in the log before it lets go.

Times are seconds of any one clock; events of the two sources may come in either order.
"""

from __future__ import annotations

import collections
from typing import NamedTuple

from coredumpd.agent.skipped import kernel_lines

GRACE_S = 2.0  # for a line to arrive
UNCLAIMED_S = 10.0  # a line whose crash the connector did not tell of counts by itself
UNCLAIMED_S_MAX = 600.0  # even while some process takes long to dump
RATELIMIT_S, RATELIMIT_LINES = 5.0, 10  # include/linux/ratelimit_types.h, per kind of line
SLACK_S = 1.0  # between the kernel's clock and ours
PRINTED_MAX = 1000


class _Crash:
    __slots__ = ("begun_s", "dumped", "ended_s", "tid", "unsure")

    def __init__(self, tid: int, begun_s: float) -> None:
        self.tid = tid
        self.begun_s = begun_s
        self.ended_s: float | None = None
        self.dumped = False
        self.unsure = False  # lines were lost meanwhile


class _Early(NamedTuple):
    when_s: float
    reason: str | None  # None: it is kept


class Ledger:
    """Bounded by the number of processes that are dumping core at a time."""

    def __init__(self) -> None:
        self._open: dict[int, _Crash] = {}
        self._early: dict[
            int, _Early
        ] = {}  # words of a handler, by pid, before we knew of the crash
        self._lost_s = float("-inf")  # when events were lost
        self._unclaimed: collections.deque[tuple[float, str | None]] = collections.deque()
        self._printed: dict[str, collections.deque[float]] = {}

    @property
    def busy(self) -> bool:
        """Is there anything that time alone can settle?"""
        return bool(self._open or self._early or self._unclaimed)

    @property
    def open(self) -> list[int]:
        """Processes that began to dump core and are not known to be gone."""
        return [pid for pid, crash in self._open.items() if crash.ended_s is None]

    @property
    def ended(self) -> list[int]:
        """Processes that are gone, of which nobody has said a word."""
        return [pid for pid, crash in self._open.items() if crash.ended_s is not None]

    def begun(self, pid: int, tid: int, now: float) -> str | None:
        """Thread `tid` of process `pid` begins to dump core. Two threads can: that is one crash.

        Returns the reason if a handler has said already that it skipped it.
        """
        early = self._early.pop(pid, None)
        if early is not None:
            return early.reason
        if pid not in self._open:
            self._open[pid] = _Crash(tid, now)
        return None

    def gone(self, pid: int, tid: int | None, dumped: bool, now: float) -> None:
        """A thread, any if None, has ended; `dumped`: somebody took its core, says the kernel."""
        crash = self._open.get(pid)
        if crash is not None and crash.ended_s is None and tid in (None, crash.tid):
            crash.ended_s = now
            crash.dumped = dumped

    def lost(self, now: float) -> None:
        """Events were lost: a crash that a handler names may be one of theirs."""
        self._lost_s = now

    def kept(self, pid: int) -> None:
        """A handler captures, or has captured, this process."""
        self._open.pop(pid, None)

    def said(self, said: kernel_lines.Said, now: float) -> str | None:
        """Take one line of the log; the reason of a skipped crash that it settles."""
        if said.by == kernel_lines.HANDLER:
            return self._handler_said(said, now)
        if said.reason == kernel_lines.LOST_LINES:
            for crash in self._open.values():
                crash.unsure = True
        elif said.by == kernel_lines.KERNEL:
            self._unclaimed.append((now, said.reason))
            printed = self._printed.setdefault(said.reason, collections.deque(maxlen=PRINTED_MAX))
            printed.append(now)
        return None  # what the kernel kept back, the connector has told

    def _handler_said(self, said: kernel_lines.Said, now: float) -> str | None:
        reason = None if said.reason == kernel_lines.STORED else said.reason
        if said.pid is None:
            self._unclaimed.append((now, None))  # it is counted, whichever crash it is about
        elif self._open.pop(said.pid, None) is None:
            self._early[said.pid] = _Early(now, reason)
            return None
        return reason

    def settle(self, now: float) -> list[str]:
        """The reason of each crash that is now known to be skipped."""
        silent = [
            pid
            for pid, crash in self._open.items()
            if crash.ended_s is not None and now - crash.ended_s >= GRACE_S
        ]
        reasons = [self._judged(self._open.pop(pid)) for pid in silent]
        patience_s = UNCLAIMED_S_MAX if self._open else UNCLAIMED_S
        while self._unclaimed and now - self._unclaimed[0][0] >= patience_s:
            reasons.append(self._unclaimed.popleft()[1])
        late = [pid for pid, early in self._early.items() if now - early.when_s >= UNCLAIMED_S]
        for early in map(self._early.pop, late):
            if self._lost_s >= early.when_s - UNCLAIMED_S:
                reasons.append(early.reason)
        return [reason for reason in reasons if reason is not None]

    def _judged(self, crash: _Crash) -> str | None:
        """Why a crash that nobody named was skipped; None: it was not, or it is counted."""
        if crash.dumped:
            # Somebody took the core and never said what he did with it: he was killed, unless
            # it was said in a line that was lost.
            return None if crash.unsure else kernel_lines.FAILED
        if self._unclaimed:
            return self._unclaimed.popleft()[1]
        for reason, printed in self._printed.items():
            since, until = crash.begun_s - RATELIMIT_S - SLACK_S, crash.begun_s + SLACK_S
            if sum(since <= when <= until for when in printed) >= RATELIMIT_LINES:
                return reason
        return kernel_lines.NOT_DUMPED
