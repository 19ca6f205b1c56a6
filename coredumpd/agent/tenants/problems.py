"""Reports problems of the rules: to pods by Events, of namespaces in the log, to the Node.

Each problem is reported once, and again if it went away and came back. Belongs to one event loop.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping

from coredumpd.agent import events, metrics
from coredumpd.agent.tenants import rules
from coredumpd.formats import annotations as dump_annotations
from coredumpd.formats import event_reasons

PROBLEMS_MAX = 1000  # that wait for their Event, and log lines of one change
_log = logging.getLogger(__name__)


class Problems:
    """Remembers the problems that were reported, and those that wait for their Event."""

    def __init__(self, event_writer: events.Events, counters: metrics.Metrics) -> None:
        self._events = event_writer
        self._metrics = counters
        self._announced: set[tuple[str, str]] = set()
        self._logged: set[tuple[str, str]] = set()
        self._queue: asyncio.Queue[tuple[rules.Pod, str]] = asyncio.Queue(PROBLEMS_MAX)
        self._denied: object = None

    async def run(self) -> None:
        """Write the Events of pods, one after the other, for ever."""
        while True:
            pod, problem = await self._queue.get()
            _log.warning("pod %s/%s: %s", pod.namespace, pod.name, problem)
            await self._events.pod(pod.namespace, pod.name, pod.uid, event_reasons.POLICY, problem)

    async def report(
        self,
        decision: rules.Decision,
        namespaces: Mapping[str, Mapping[str, str]],
        default: dump_annotations.Rules,
    ) -> None:
        """Report what is new in `decision`; `namespaces`: their annotations, by name."""
        for pod, problem in decision.problems:
            if (pod.uid, problem) not in self._announced and not self._queue.full():
                self._announced.add((pod.uid, problem))
                self._queue.put_nowait((pod, problem))
        self._announced &= {(pod.uid, problem) for pod, problem in decision.problems}
        self._log_namespaces(namespaces, default)
        await self._report_denied(decision)

    def _log_namespaces(
        self, namespaces: Mapping[str, Mapping[str, str]], default: dump_annotations.Rules
    ) -> None:
        """Only a log line: every node would send the same Event."""
        problems = {
            (name, problem)
            for name, own in namespaces.items()
            for problem in dump_annotations.of_namespace(own, default)[1]
        }
        for name, problem in sorted(problems - self._logged)[:PROBLEMS_MAX]:
            _log.warning("namespace %s: %s", name, problem)
        self._logged = problems

    async def _report_denied(self, decision: rules.Decision) -> None:
        """Log, and write an Event on the Node, when who has no room changes."""
        denied = (decision.denied_pods, decision.denied_namespaces)
        self._metrics.denied.set(sum(denied))
        if denied != self._denied and any(denied):
            text = (
                f"{denied[0]} pods and the rules of {denied[1]} namespaces have no room in the"
                " policy: their crashes are not captured"
            )
            _log.error("%s", text)
            await self._events.node(event_reasons.POLICY, text)
        self._denied = denied
