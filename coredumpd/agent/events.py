"""The Events that this node's agent writes: about stored crashes, and about this node."""

from __future__ import annotations

from coredumpd import units
from coredumpd.formats import crash_loop, event_reasons, names
from coredumpd.formats import record as records
from coredumpd.kube import events, pods
from coredumpd.spool import copier


class Events(events.Events):
    """See `kube.events.Events`; `source` is the node's name."""

    async def dumped(self, record: records.CrashRecord) -> None:
        """Write an Event on the pod: its dump is in the store."""
        if record.namespace != names.HOST_NAMESPACE:
            pod = {
                "apiVersion": "v1",
                "kind": "Pod",
                "namespace": record.namespace,
                "name": record.pod_name,
                "uid": record.pod_uid,
                "fieldPath": pods.field_path(record.container_kind, record.container),
            }
            await self.write(pod, reason_of(record), describe(record), repeats(record))

    async def node(self, reason: str, message: str) -> None:
        """Write an Event on this node, such as one about a core_pattern that someone changed."""
        if self._source is not None:
            node = {"apiVersion": "v1", "kind": "Node", "name": self._source, "uid": self._source}
            await self.write(node, reason, message, message)


def reason_of(record: records.CrashRecord) -> str:
    """The Event's reason: was the core kept, cut short, or only counted?"""
    if record.raw.get(crash_loop.FIELD):
        return event_reasons.SKIPPED
    if _cause_of_cut(record) == copier.QUOTA:
        return event_reasons.QUOTA
    return event_reasons.TRUNCATED if record.truncated else event_reasons.DUMPED


def describe(record: records.CrashRecord) -> str:
    """One sentence for `kubectl describe pod`. All text in a record is escaped already."""
    name = record.raw["signal"]["name"] or f"signal {record.signal_number}"
    death = f"{record.exe or record.comm} died of {name}"
    if crashes := crash_loop.of(record).count if record.raw.get(crash_loop.FIELD) else 0:
        return (
            f"{death} {crashes} times more in a crash loop; only the first and the last keep their"
            f" core, {record.id} counts the others"
        )
    if _cause_of_cut(record) == copier.QUOTA:
        return f"{death}; its core is not kept, {record.id} has only the record: {copier.QUOTA}"
    size = units.format_quantity(record.size)
    text = f"{death}; its core of {size} is kept as {record.id}"
    return text + f", cut short: {_cause_of_cut(record)}" if record.truncated else text


def repeats(record: records.CrashRecord) -> str:
    """Equal for crashes that are repeats of one Event."""
    return " ".join(map(str, crash_loop.same_crash(record)))


def _cause_of_cut(record: records.CrashRecord) -> object:
    return record.raw["core"]["truncated"].get("reason")
