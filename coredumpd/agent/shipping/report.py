"""What becomes of a dump, told to metrics and to the pod's owner. Never holds up shipping."""

from __future__ import annotations

import asyncio
import logging
import time

from coredumpd import errors, log
from coredumpd.agent import events, metrics
from coredumpd.agent.skipped import kernel_lines
from coredumpd.formats import record as records

EVENTS_AT_ONCE_MAX = 100
ERROR_CHARS_MAX = 400
_log = logging.getLogger(__name__)


class Observer:
    """See `shipper.Observer`."""

    def __init__(self, counters: metrics.Metrics, teller: events.Events) -> None:
        self._metrics = counters
        self._events = teller
        self._telling: set[asyncio.Task[None]] = set()
        self._failing_since_s: dict[str, float] = {}
        self.last_error = ""  # of the latest try that failed

    def stuck_s(self) -> float:
        """For how long the dump that fails longest has been failing."""
        first_s = min(self._failing_since_s.values(), default=None)
        return 0.0 if first_s is None else time.monotonic() - first_s

    async def shipped(self, crash: records.CrashRecord) -> None:
        """In the store, and out of the spool."""
        self._failing_since_s.pop(crash.id, None)
        self._metrics.shipped.labels(crash.raw["capture"]["attribution"]).inc()
        self._metrics.shipped_bytes.inc(crash.raw["core"]["storedSize"])
        _log.info("shipped %s", crash.key())
        if len(self._telling) >= EVENTS_AT_ONCE_MAX:
            self._metrics.events_dropped.inc()
            return
        task = asyncio.create_task(self._events.dumped(crash), name=f"event {crash.id}")
        self._telling.add(task)
        task.add_done_callback(self._telling.discard)

    async def refused(self, crash: records.CrashRecord) -> None:
        """Removed from the spool: its pod, known only now, wants none, or its namespace is gone."""
        self._failing_since_s.pop(crash.id, None)
        self._metrics.skipped.labels(kernel_lines.POLICY).inc()
        _log.info("removed %s: not wanted by its pod, or by its namespace's end", crash.id)

    def counted(self, crashes: int) -> None:
        """So many crashes of a loop lost their core, and are counted by one record."""
        self._metrics.folded.inc(crashes)

    async def failed(self, id: str, error: errors.CoredumpdError) -> None:
        """It stays in the spool and is tried again."""
        self._failing_since_s.setdefault(id, time.monotonic())
        self.last_error = log.escape(str(error))[:ERROR_CHARS_MAX]
        self._metrics.failures.labels(type(error).__name__).inc()

    async def set_aside(self, id: str, error: errors.CoredumpdError) -> None:
        """It stays in the spool under another name, for a person; the log has said why."""
        del error
        self._failing_since_s.pop(id, None)
        self._metrics.set_aside.inc()
