"""What this node's agent tells by Events: what became of a crash, and what is wrong on the node."""

from __future__ import annotations

from coredumpd import units
from coredumpd.formats import crash_loop, names
from coredumpd.formats import record as records
from coredumpd.kube import events
from coredumpd.spool import copier

DUMPED, TRUNCATED, SKIPPED = "CoreDumped", "CoreDumpTruncated", "CoreDumpSkipped"
QUOTA, POLICY = "CoreDumpQuota", "CoreDumpPolicy"


class Events(events.Events):
    """See `kube.events.Events`; `source` is the node's name."""

    async def dumped(self, crash: records.CrashRecord) -> None:
        """A dump is in the store: tell the pod's owner."""
        if crash.raw["namespace"] != names.HOST_NAMESPACE:
            pod = {
                "apiVersion": "v1",
                "kind": "Pod",
                "namespace": crash.raw["namespace"],
                "name": crash.raw["podName"],
                "uid": crash.raw["podUID"],
                "fieldPath": f"spec.containers{{{crash.raw['container']}}}",
            }
            await self.write(pod, reason_of(crash), describe(crash), repeats(crash))

    async def node(self, reason: str, message: str) -> None:
        """Something about this node itself, such as a core_pattern that someone changed."""
        if self._source is not None:
            about = {"apiVersion": "v1", "kind": "Node", "name": self._source, "uid": self._source}
            await self.write(about, reason, message, message)


def reason_of(crash: records.CrashRecord) -> str:
    """The Event's reason: what became of the core."""
    if crash.raw.get(crash_loop.FIELD):
        return SKIPPED
    truncated = crash.raw["core"]["truncated"]
    if truncated.get("reason") == copier.QUOTA:
        return QUOTA
    return TRUNCATED if truncated.get("is") else DUMPED


def describe(crash: records.CrashRecord) -> str:
    """One sentence for `kubectl describe pod`. All text in a record is escaped already."""
    raw = crash.raw
    signal = raw["signal"]["name"] or f"signal {raw['signal']['number']}"
    if counted := crash_loop.of(crash).count if crash.raw.get(crash_loop.FIELD) else 0:
        return (
            f"{_program(crash)} died of {signal} {counted} times more in a crash loop; only the"
            f" first and the last keep their core, {crash.id} counts the others"
        )
    if raw["core"]["truncated"].get("reason") == copier.QUOTA:
        return (
            f"{_program(crash)} died of {signal}; its core is not kept, {crash.id} has only the"
            f" record: {copier.QUOTA}"
        )
    size = units.format_quantity(raw["core"]["size"])
    text = f"{_program(crash)} died of {signal}; its core of {size} is kept as {crash.id}"
    if raw["core"]["truncated"].get("is"):
        text += f", cut short: {raw['core']['truncated'].get('reason')}"
    return text


def repeats(crash: records.CrashRecord) -> str:
    """Equal for crashes that are repeats of one Event."""
    return " ".join(map(str, crash_loop.same_crash(crash)))


def _program(crash: records.CrashRecord) -> str:
    process = crash.raw["process"]
    return str(process["exe"] or process["comm"])
