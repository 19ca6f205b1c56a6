"""Reports each dump's fate by metrics and to the pod's owner. Never holds up shipping."""

from __future__ import annotations

import logging
from typing import Protocol

from coredumpd import aiokit, errors
from coredumpd.agent import events, metrics
from coredumpd.agent.skipped import kernel_lines
from coredumpd.formats import record as records

EVENTS_AT_ONCE_MAX = 100
_log = logging.getLogger(__name__)


class Observer(Protocol):
    """Learns which containers have a dump; `terminations.Monitor` is one. Must not raise."""

    def arrived(self, record: records.CrashRecord) -> None: ...
    def refused(self, record: records.CrashRecord) -> None: ...


class Reporter:
    """See `entry.Reporter`."""

    def __init__(
        self,
        counters: metrics.Metrics,
        event_writer: events.Events,
        observer: Observer | None = None,
    ) -> None:
        self._metrics = counters
        self._events = event_writer
        self._observer = observer
        self._background = aiokit.Background(EVENTS_AT_ONCE_MAX)

    def arrived(self, record: records.CrashRecord) -> None:
        """The dump is in the spool."""
        if self._observer is not None:
            self._observer.arrived(record)

    async def shipped(self, record: records.CrashRecord) -> None:
        """The dump is in the store, and out of the spool."""
        self._metrics.shipped.labels(record.attribution).inc()
        self._metrics.shipped_bytes.inc(record.stored_size)
        _log.info("shipped %s", record.key())
        if self._background.full:
            self._metrics.events_dropped.inc()
            return
        self._background.start(f"event {record.id}", self._events.dumped(record))

    async def refused(self, record: records.CrashRecord) -> None:
        """The dump was removed: its pod, known only now, wants none, or its namespace is gone."""
        self._metrics.skipped.labels(kernel_lines.POLICY).inc()
        _log.info("removed %s: its pod wants no dumps, or its namespace is gone", record.id)
        if self._observer is not None:
            self._observer.refused(record)

    def folded(self, crashes: int) -> None:
        """`crashes` of a loop lost their core; one record counts them."""
        self._metrics.folded.inc(crashes)

    async def failed(self, id: str, error: errors.CoredumpdError) -> None:
        """A try to ship a dump failed; the dump stays in the spool and is tried again."""
        del id
        self._metrics.failures.labels(type(error).__name__).inc()

    async def set_aside(self, id: str) -> None:
        """An entry stays in the spool under another name; the log says why."""
        del id
        self._metrics.set_aside.inc()

    def dropped(self, reason: str, text: str) -> None:
        """A dump that stayed on the node is removed, because the bounds allow no more."""
        self._metrics.skipped.labels(reason).inc()
        _log.error("removed %s", text)
