"""Keep core_pattern ours: correct drift, count it, and back off from a fight. Runs on the loop."""

from __future__ import annotations

import asyncio
import collections
import logging
import time

from coredumpd import errors, log
from coredumpd.agent import events, metrics
from coredumpd.agent.node import sysctls

CHECK_EVERY_S = 1.0  # so that drift is corrected within 2 s
FIGHT_CORRECTIONS_MAX = 5
FIGHT_WINDOW_S = 60.0
_BACKOFF_S_MAX = 3600.0
_log = logging.getLogger(__name__)


class Fight:
    """Decides whether to correct now. Pure: the caller brings the time.

    More than FIGHT_CORRECTIONS_MAX corrections in FIGHT_WINDOW_S is a fight: then we let the other
    win for one window, twice as long each time, until a whole window passes in peace.
    """

    def __init__(self) -> None:
        self._corrections: collections.deque[float] = collections.deque()
        self._quiet_until_s = 0.0
        self._backoff_s = FIGHT_WINDOW_S

    def may_correct(self, now_s: float) -> bool:
        """Is a correction at `now_s` (monotonic) allowed?"""
        return now_s >= self._quiet_until_s

    def corrected(self, now_s: float) -> float:
        """Note one correction; returns for how long to back off, 0 as long as it is no fight."""
        recent = self._corrections
        if recent and now_s - recent[-1] > FIGHT_WINDOW_S + self._backoff_s:
            self._backoff_s = FIGHT_WINDOW_S
        recent.append(now_s)
        while now_s - recent[0] > FIGHT_WINDOW_S:
            recent.popleft()
        if len(recent) <= FIGHT_CORRECTIONS_MAX:
            return 0.0
        backoff_s = self._backoff_s
        self._quiet_until_s = now_s + backoff_s
        self._backoff_s = min(2 * backoff_s, _BACKOFF_S_MAX)
        return backoff_s


class Guard:
    """Checks every second; `ours` says whether the last check found, or left, our settings."""

    def __init__(
        self, settings: sysctls.Kernel, counters: metrics.Metrics, announcer: events.Events
    ) -> None:
        self._kernel = settings
        self._metrics = counters
        self._events = announcer
        self._fight = Fight()
        self._telling: set[asyncio.Task[None]] = set()
        self.ours = False

    async def run(self) -> None:
        """For ever. A kernel that refuses is logged and asked again."""
        while True:
            self.check()
            await asyncio.sleep(CHECK_EVERY_S)

    def check(self) -> None:
        """One look, and one correction when it is needed and allowed. On the event loop."""
        try:
            drift = self._kernel.drift()
            now_s = time.monotonic()
            if drift and self._fight.may_correct(now_s):
                self._correct(drift, now_s)
                drift = {}
        except errors.CoredumpdError as error:
            _log.error("core settings: %s", error)  # and /healthz fails
            drift = {"error": str(error)}
        self.ours = not drift
        self._metrics.pattern_ours.set(self.ours)

    def _correct(self, drift: dict[str, str], now_s: float) -> None:
        self._kernel.apply()
        found = ", ".join(f"{name} was {value!r}" for name, value in sorted(drift.items()))
        _log.warning("core settings drifted, corrected: %s", found)
        self._metrics.corrections.inc()
        self._tell("CorePatternDrift", f"core settings put back: {log.escape(found)}")
        backoff_s = self._fight.corrected(now_s)
        if backoff_s:
            text = (
                f"something else keeps changing the core settings ({found}):"
                f" corrected {FIGHT_CORRECTIONS_MAX + 1} times in a minute,"
                f" leaving them alone for {backoff_s:.0f} s"
            )
            _log.error("%s", text)
            self._tell("CorePatternFight", log.escape(text))

    def _tell(self, reason: str, message: str) -> None:
        """An Event, beside the checks: an API that hangs must not delay the next correction."""
        task = asyncio.create_task(self._events.node(reason, message), name=reason)
        self._telling.add(task)
        task.add_done_callback(self._telling.discard)
