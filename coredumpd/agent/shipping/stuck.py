"""Does shipping make progress? If not, /healthz says why, and one Event per outage is written.

Shipping stops in two ways. A dump fails, again and again. Or a commit hangs, in a mount whose
server is gone: it never fails, and nothing can end its thread, so the monitor watches whether it
still takes bytes.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Protocol

from coredumpd import aiokit
from coredumpd.formats import event_reasons

_log = logging.getLogger(__name__)
CHECK_EVERY_S = 1.0


class Shipping(Protocol):
    """The state of shipping; `shipper.Shipper` is one."""

    last_error: str

    @property
    def waiting(self) -> int:
        """Dumps in the spool."""

    @property
    def failing_s(self) -> float:
        """Seconds for which a dump has been failing."""

    @property
    def silent_s(self) -> float:
        """Seconds for which a running commit has taken no byte."""


class Events(Protocol):
    """Writes Events about this node. Must not raise."""

    async def node(self, reason: str, message: str) -> None: ...


class Monitor:
    """Checks `shipping` every second; it is stuck after `after_s` seconds without progress."""

    def __init__(self, shipping: Shipping, event_writer: Events, after_s: float) -> None:
        self._shipping = shipping
        self._events = event_writer
        self._after_s = after_s
        self._since_s: float | None = None
        self._background = aiokit.Background()

    async def run(self) -> None:
        """Check for ever."""
        while True:
            self.check(time.monotonic())
            await asyncio.sleep(CHECK_EVERY_S)

    def problem(self) -> str | None:
        """Why shipping is stuck; None while it is not, or not for long enough."""
        failing_s, silent_s = self._shipping.failing_s, self._shipping.silent_s
        if failing_s > self._after_s:
            cause = f"a dump has failed for {failing_s:.0f} s: {self._shipping.last_error}"
        elif silent_s > self._after_s:
            cause = f"a commit has taken no byte for {silent_s:.0f} s: the store hangs"
        else:
            return None
        return f"shipping is stuck: {cause}"

    def check(self, now_s: float) -> None:
        """Check once; log a change and write an Event about it. Call on the event loop."""
        problem = self.problem()
        waiting = f"{self._shipping.waiting} dumps wait in the spool"
        if problem is not None and self._since_s is None:
            self._since_s = now_s
            _log.error("%s; %s", problem, waiting)
            self._announce(event_reasons.STUCK, f"{problem}; {waiting}")
        elif problem is None and self._since_s is not None:
            outage_s = now_s - self._since_s
            text = f"dumps reach the store again, {outage_s:.0f} s after the outage was reported"
            self._since_s = None
            _log.info("%s; %s", text, waiting)
            self._announce(event_reasons.RESUMED, f"{text}; {waiting}")

    def _announce(self, reason: str, message: str) -> None:
        """In the background: an API that hangs must not delay the checks."""
        self._background.start(reason, self._events.node(reason, message))
