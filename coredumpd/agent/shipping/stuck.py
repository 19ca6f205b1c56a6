"""Does shipping get on? If not: why, for /healthz, and an Event on the Node, once for each outage.

There are two ways not to. A dump fails, again and again. Or a commit hangs, in a mount whose server
is gone: that one never fails, and nothing can end its thread, so what is watched is whether it
still takes bytes.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Protocol

_log = logging.getLogger(__name__)
CHECK_EVERY_S = 1.0
STUCK, RESUMED = "CoreDumpsStuck", "CoreDumpsResumed"


class Shipping(Protocol):
    """What is watched; `shipper.Shipper` is one."""

    @property
    def waiting(self) -> int:
        """Dumps in the spool."""

    @property
    def silent_s(self) -> float:
        """For how long a commit at work has taken no byte."""


class Failures(Protocol):
    """What is watched as well; `observer.Observer` is one."""

    last_error: str

    def stuck_s(self) -> float:
        """For how long a dump has been failing."""


class Announcer(Protocol):
    """Tells the cluster. Must not raise."""

    async def node(self, reason: str, message: str) -> None: ...


class Watcher:
    """Looks every second."""

    def __init__(
        self, shipping: Shipping, failures: Failures, announcer: Announcer, after_s: float
    ) -> None:
        self._shipping = shipping
        self._failures = failures
        self._announcer = announcer
        self._after_s = after_s
        self._since_s: float | None = None
        self._telling: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """For ever."""
        while True:
            self.check(time.monotonic())
            await asyncio.sleep(CHECK_EVERY_S)

    def problem(self) -> str | None:
        """Why shipping is stuck; None while it is not, or not for long enough."""
        failing_s, silent_s = self._failures.stuck_s(), self._shipping.silent_s
        if failing_s > self._after_s:
            why = f"a dump has failed for {failing_s:.0f} s: {self._failures.last_error}"
        elif silent_s > self._after_s:
            why = f"a commit has taken no byte for {silent_s:.0f} s: the store hangs"
        else:
            return None
        return f"shipping is stuck: {why}"

    def check(self, now_s: float) -> None:
        """One look; what has changed is logged and told. On the event loop."""
        problem = self.problem()
        waiting = f"{self._shipping.waiting} dumps wait in the spool"
        if problem is not None and self._since_s is None:
            self._since_s = now_s
            _log.error("%s; %s", problem, waiting)
            self._tell(STUCK, f"{problem}; {waiting}")
        elif problem is None and self._since_s is not None:
            text = f"dumps reach the store again, {now_s - self._since_s:.0f} s after it was told"
            self._since_s = None
            _log.info("%s; %s", text, waiting)
            self._tell(RESUMED, f"{text}; {waiting}")

    def _tell(self, reason: str, message: str) -> None:
        """Beside the checks: an API that hangs must not delay them."""
        task = asyncio.create_task(self._announcer.node(reason, message), name=reason)
        self._telling.add(task)
        task.add_done_callback(self._telling.discard)
