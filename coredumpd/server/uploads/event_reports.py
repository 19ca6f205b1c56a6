"""Events on pods, written for agents: for a dump when it is committed, else when an agent asks.

So the agents need no right to write Events in tenants' namespaces. A node gets Events on its own
pods alone, of our own reasons, as itself, and not more than `event_rate` allows.

Tested in: tests/integration/server/test_event_reports.py
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from coredumpd import aiokit, errors
from coredumpd.apiserver.auth import rights
from coredumpd.apiserver.http import application, handler
from coredumpd.formats import dump_event, event_report, names
from coredumpd.formats import record as records
from coredumpd.kube import events, pods
from coredumpd.server import cluster as clusters
from coredumpd.server.uploads import event_rate, senders

AT_ONCE_MAX = 100  # Events about dumps; those beyond are dropped
_log = logging.getLogger(__name__)
Put = Callable[[dict[str, Any], int], Awaitable[int]]  # writes an Event with its count


class Cluster(Protocol):
    """The part of `cluster.KubeCluster` that is needed here."""

    async def pod(self, namespace: str, name: str) -> clusters.Pod | None: ...
    def node_of(self, namespace: str, pod_uid: str) -> str | None: ...


class Recorder(Protocol):
    """Writes Events of this server's own. Must not raise."""

    async def write(
        self,
        regarding: dict[str, Any],
        reason: str,
        message: str,
        same: str,
        source: str | None = None,
    ) -> None: ...


@dataclasses.dataclass
class EventReports:
    """Writes Events by `put`, and those about dumps by `recorder`. Belongs to one event loop."""

    cluster: Cluster
    agents: senders.Senders
    rate: event_rate.Rate
    put: Put
    recorder: Recorder
    count_refusal: Callable[[str], None] = lambda _: None  # by reason

    def __post_init__(self) -> None:
        self._background = aiokit.Background(AT_ONCE_MAX)

    def committed(self, record: records.CrashRecord) -> None:
        """Write the Event about a dump, in the background. A pod that nobody proves has none."""
        if record.namespace == names.HOST_NAMESPACE or record.attribution == records.UNPROVEN:
            return
        try:
            if self._background.full:
                raise errors.TooManyRequests(f"{AT_ONCE_MAX} Events are being written already")
            self.rate.take_pod(record.node or "", record.pod_uid or "")
            self.rate.take_node(record.node or "")
        except errors.TooManyRequests as error:
            self.refused("event-rate", error)
            return
        event = self.recorder.write(
            pods.reference(record),
            dump_event.reason_of(record),
            dump_event.describe(record),
            dump_event.repeats(record),
            record.node,
        )
        self._background.start(f"event {record.id}", event)

    async def write(self, sender: senders.Sender, report: event_report.Report) -> None:
        """Write the Event that a node asks for.

        Raises Forbidden for a pod that is not the node's, TooManyRequests, Unavailable.
        """
        node = await self._node_of(report)
        if node is None or sender.node not in (None, node):
            error = errors.Forbidden.about(
                "pod", f"pod {report.namespace}/{report.pod} is not on {sender.node or 'a node'!r}"
            )
            self.refused("event-pod", error)
            raise error
        try:
            self.rate.take_pod(node, report.uid)
        except errors.TooManyRequests as error:
            self.refused("event-rate", error)
            raise
        event = events.make(report.regarding(), report.reason, report.message, report.series, node)
        await self.put(event, report.count)

    async def _node_of(self, report: event_report.Report) -> str | None:
        """Where the pod is; where one that is gone was seen last."""
        pod = await self.cluster.pod(report.namespace, report.pod)
        if pod is not None and report.uid in pod.uids:
            return pod.node or None
        return self.cluster.node_of(report.namespace, report.uid)

    def refused(self, reason: str, error: errors.CoredumpdError) -> None:
        """Count a refusal, and log it."""
        self.count_refusal(reason)
        _log.warning("an Event is not written: %s", error)


class Intake(handler.Handler):
    """`POST`: one report."""

    audited = True
    share = None
    body_bytes_max = event_report.BYTES_MAX

    def initialize(  # type: ignore[override]
        self, rights: rights.Rights, reports: EventReports
    ) -> None:
        """Tornado's; the arguments come from the route."""
        self.reports = reports
        super().initialize(rights)

    async def admit(self) -> None:
        """As every handler; then refuse anyone but an agent, and more than its node's rate."""
        await super().admit()
        self.sender = await self.reports.agents.of(self.caller)
        try:
            self.reports.rate.take_node(self.sender.place)
        except errors.TooManyRequests as error:
            self.reports.refused("event-rate", error)
            raise

    async def post(self) -> None:
        """Answers 202 once the Event is written."""
        await self.reports.write(self.sender, event_report.Report.parse(self.body()))
        self.answer({}, 202)


def routes(reports: EventReports | None) -> list[application.Route]:
    """The route of this module; none where no agent may send."""
    if reports is None:
        return []
    return [application.Route(event_report.PATH, Intake, rights.Path(), {"reports": reports})]
