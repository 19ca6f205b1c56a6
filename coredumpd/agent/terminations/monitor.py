"""Watches for containers that end without a core, and tells their pods why. Thin.

`statuses` reads pods, `pending` waits, `causes` decides. Belongs to one event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from coredumpd import aiokit, errors
from coredumpd.agent import metrics
from coredumpd.agent.terminations import causes, pending, statuses
from coredumpd.formats import event_reasons, guard_status
from coredumpd.formats import record as records
from coredumpd.kube import pods

_log = logging.getLogger(__name__)


class Events(Protocol):
    """Writes Events; `agent.events.Events` is one. Must not raise."""

    async def write(
        self, regarding: dict[str, Any], reason: str, message: str, same: str
    ) -> None: ...


@dataclasses.dataclass(frozen=True)
class Sources:
    """Where facts come from. `capturing` blocks, and raises OSError: see `Spool.capturing`."""

    capturing: Callable[[], set[str]]
    losses: Callable[[], Sequence[guard_status.Loss]] = tuple
    problems: Callable[[], list[str]] = list[str]
    rule: Callable[[statuses.Termination], str | None] = lambda _: None


class Monitor:
    """Judges the ends since it was made; each once."""

    def __init__(
        self,
        event_writer: Events,
        counters: metrics.Metrics,
        sources: Sources,
        wait_s_max: float,
    ) -> None:
        """`wait_s_max`: how long a capture may take."""
        self._events = event_writer
        self._metrics = counters
        self._sources = sources
        self._wait_s_max = wait_s_max
        self._pending = pending.Pending(time.time(), wait_s_max)
        self._wake = asyncio.Event()
        self._refused: list[records.CrashRecord] = []

    def observe(self, pod: dict[str, Any]) -> None:
        """Take the ends that a pod's document reports."""
        for termination in statuses.terminations(pod):
            if not self._pending.add(termination, time.monotonic()):
                self._metrics.events_dropped.inc()
            self._wake.set()

    def arrived(self, record: records.CrashRecord) -> None:
        """A dump is in the spool."""
        if record.container_id is not None:
            duration_s = record.duration_s
            ended_s = record.time_s + (self._wait_s_max if duration_s is None else duration_s)
            self._pending.dumped(record.container_id, record.time_s, ended_s)

    def refused(self, record: records.CrashRecord) -> None:
        """A dump was removed from the spool, because its pod wants none."""
        if record.namespace and record.pod_name and len(self._refused) < pending.WAITING_MAX:
            self._refused.append(record)
            self._wake.set()

    async def run(self) -> None:
        """Judge for ever."""
        while True:
            due = self._pending.next_due()
            pause_s = None if due is None else max(0.0, due - time.monotonic())
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await self._wake.wait()
            self._wake.clear()
            await self.judge(time.monotonic())

    async def judge(self, now: float) -> None:
        """Report every end whose time has come by `now`, a monotonic time."""
        refused, self._refused = self._refused, []
        for record in refused:
            text = f"no core was kept of {record.program}: its pod wants no dumps"
            await self._report(pods.reference(record), record.container, causes.RULE, text)
        due = self._pending.next_due()
        if due is None or due > now:
            return
        losses = {loss.container: loss for loss in self._sources.losses()}
        problem = "; ".join(self._sources.problems()) or None
        for termination in self._pending.due(now, await self._capturing()):
            rule = self._sources.rule(termination)
            loss = losses.get(termination.container_id)
            finding = causes.decide(causes.Facts(termination, loss, rule, problem))
            if finding is not None:
                reference, container = termination.reference(), termination.container
                await self._report(reference, container, finding.reason, finding.sentence)

    async def _report(
        self, reference: dict[str, Any], container: str | None, reason: str, sentence: str
    ) -> None:
        self._metrics.without_core.labels(reason).inc()
        _log.info("pod %s/%s: %s", reference["namespace"], reference["name"], sentence)
        same = f"{container} {reason}"
        await self._events.write(reference, event_reasons.MISSING, sentence, same)

    async def _capturing(self) -> set[str] | None:
        try:
            return await aiokit.call(self._sources.capturing)
        except (OSError, errors.CoredumpdError) as error:
            _log.warning("ends of containers are judged later, the spool: %s", error)
            return None
