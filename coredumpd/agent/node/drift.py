"""Keeps core_pattern ours: corrects drift, counts it, backs off from a fight. Runs on the loop."""

from __future__ import annotations

import asyncio
import collections
import logging
import time

from coredumpd import aiokit, errors, log
from coredumpd.agent import tally
from coredumpd.agent.node import sysctls
from coredumpd.formats import event_reasons

FIGHT_CORRECTIONS_MAX = 5
FIGHT_WINDOW_S = 60.0
_BACKOFF_S_MAX = 3600.0
_log = logging.getLogger(__name__)


class Fight:
    """Decides whether to correct now. Pure: the caller passes the time.

    More than FIGHT_CORRECTIONS_MAX corrections in FIGHT_WINDOW_S are a fight. Then the other side's
    settings stay for one window, and for twice as long after each further fight, until a whole
    window passes without a correction.
    """

    def __init__(self) -> None:
        self._corrections: collections.deque[float] = collections.deque()
        self._quiet_until_s = 0.0
        self._backoff = aiokit.Backoff(FIGHT_WINDOW_S, _BACKOFF_S_MAX, jitter=0.0)
        self._backoff_s = FIGHT_WINDOW_S  # the next pause

    def may_correct(self, now_s: float) -> bool:
        """Is a correction at `now_s` (monotonic) allowed?"""
        return now_s >= self._quiet_until_s

    def corrected(self, now_s: float) -> float:
        """Note one correction; returns how long to back off in seconds, 0 while it is no fight."""
        recent = self._corrections
        if recent and now_s - recent[-1] > FIGHT_WINDOW_S + self._backoff_s:
            self._backoff.reset()
            self._backoff_s = FIGHT_WINDOW_S
        recent.append(now_s)
        while now_s - recent[0] > FIGHT_WINDOW_S:
            recent.popleft()
        if len(recent) <= FIGHT_CORRECTIONS_MAX:
            return 0.0
        backoff_s = self._backoff.next()
        self._quiet_until_s = now_s + backoff_s
        self._backoff_s = min(2 * backoff_s, _BACKOFF_S_MAX)
        return backoff_s


class Monitor:
    """Checks periodically; `ours`: were the settings ours after the last check?

    `problem` is a sentence about those that were not.
    """

    def __init__(
        self,
        core_sysctls: sysctls.CoreSysctls,
        counters: tally.Tally,
        event_writer: tally.NodeEvents,
        check_every_s: float = 1.0,
    ) -> None:
        """`check_every_s`: the default corrects drift within 2 s."""
        self._sysctls = core_sysctls
        self._tally = counters
        self._events = event_writer
        self._check_every_s = check_every_s
        self._fight = Fight()
        self._background = aiokit.Background()
        self.ours = False
        self.problem = "core_pattern is not ours yet"

    async def run(self) -> None:
        """Check for ever. When the kernel refuses, log it and try again."""
        while True:
            self.check()
            await asyncio.sleep(self._check_every_s)

    def check(self) -> None:
        """Check once; correct if that is needed and allowed. Call on the event loop."""
        try:
            drift = self._sysctls.drift()
            now_s = time.monotonic()
            if drift and self._fight.may_correct(now_s):
                self._correct(drift, now_s)
                drift = {}
        except errors.CoredumpdError as error:
            _log.error("core settings: %s", error)  # and /healthz fails
            self.ours, self.problem = False, f"core_pattern is not ours: {error}"
        else:
            self.ours = not drift
            values = ", ".join(f"{name} is {value!r}" for name, value in sorted(drift.items()))
            self.problem = f"core_pattern is not ours: {log.escape(values)}, set by something else"
        self._tally.pattern_ours = self.ours

    def _correct(self, drift: dict[str, str], now_s: float) -> None:
        self._sysctls.apply()
        changes = ", ".join(f"{name} was {value!r}" for name, value in sorted(drift.items()))
        _log.warning("core settings drifted, corrected: %s", changes)
        self._tally.corrections.inc()
        text = f"core settings put back: {log.escape(changes)}"
        self._announce(event_reasons.PATTERN_DRIFT, text)
        backoff_s = self._fight.corrected(now_s)
        if backoff_s:
            text = (
                f"something else keeps changing the core settings ({changes}):"
                f" corrected {FIGHT_CORRECTIONS_MAX + 1} times in a minute,"
                f" leaving them alone for {backoff_s:.0f} s"
            )
            _log.error("%s", text)
            self._announce(event_reasons.PATTERN_FIGHT, log.escape(text))

    def _announce(self, reason: str, message: str) -> None:
        """In the background: an API that hangs must not delay the next correction."""
        self._background.start(reason, self._events.node(reason, message))
