"""The Event about one dump: its reason, its sentence, and which dumps are repeats of one Event.

The server writes it for a dump that it has committed; an agent that writes to a store itself does.
"""

from __future__ import annotations

from coredumpd import units
from coredumpd.formats import crash_loop, event_reasons, policy, upload
from coredumpd.formats import record as records

_NO_ROOM = (policy.QUOTA_REACHED, upload.QUOTA)  # no core is kept, by the agent or by the server


def reason_of(record: records.CrashRecord) -> str:
    """The Event's reason: was the core kept, cut short, or only counted?"""
    if record.raw.get(crash_loop.FIELD):
        return event_reasons.SKIPPED
    if _cause_of_cut(record) in _NO_ROOM:
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
    cause = _cause_of_cut(record)
    if cause in _NO_ROOM:
        return f"{death}; its core is not kept, {record.id} has only the record: {cause}"
    size = units.format_quantity(record.size)
    text = f"{death}; its core of {size} is kept as {record.id}"
    return text + f", cut short: {cause}" if record.truncated else text


def repeats(record: records.CrashRecord) -> str:
    """Equal for crashes that are repeats of one Event."""
    return " ".join(map(str, crash_loop.same_crash(record)))


def _cause_of_cut(record: records.CrashRecord) -> object:
    return record.raw["core"]["truncated"].get("reason")
