"""The Events that this node's agent asks for: about crashes in pods, and about this node.

An Event on a pod goes by `Relay`, where there is one: a server then writes it, and the agent needs
no right in tenants' namespaces. An Event on the Node lies in the namespace `default` and is written
directly: some of them say that the server cannot be reached.
"""

from __future__ import annotations

from typing import Any, Protocol

from coredumpd import aiokit
from coredumpd.formats import dump_event, event_report, names
from coredumpd.formats import record as records
from coredumpd.kube import api, events, pods


class Relay(Protocol):
    """A server that writes Events on pods of this node."""

    def report(self, report: event_report.Report) -> None:
        """Blocks. Raises a CoredumpdError when the Event is not written."""


class Events(events.Events):
    """See `kube.events.Events`; `source` is the node's name."""

    def __init__(
        self, kube: api.Requests | None, source: str | None, relay: Relay | None = None
    ) -> None:
        super().__init__(kube, source)
        self._relay = relay

    async def dumped(self, record: records.CrashRecord) -> None:
        """Write an Event on the pod: its dump is in the store. A server does that by itself."""
        if record.namespace != names.HOST_NAMESPACE and self._relay is None:
            await self.write(
                pods.reference(record),
                dump_event.reason_of(record),
                dump_event.describe(record),
                dump_event.repeats(record),
            )

    async def node(self, reason: str, message: str) -> None:
        """Write an Event on this node, such as one about a core_pattern that someone changed."""
        if self._source is not None:
            node = {"apiVersion": "v1", "kind": "Node", "name": self._source, "uid": self._source}
            await self.write(node, reason, message, message)

    async def _deliver(
        self, kube: api.Requests, event: dict[str, Any], series: events.Series
    ) -> int:
        """See `kube.events.Events`. The only way on which an agent's Event leaves the node."""
        regarding = event["involvedObject"]
        if self._relay is None or regarding["kind"] != "Pod":
            return await super()._deliver(kube, event, series)
        report = event_report.Report.of(
            regarding, event["reason"], event["message"], series.same, series.count
        )
        await aiokit.call(self._relay.report, report)
        return series.count
