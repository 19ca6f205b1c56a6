"""One JSON line per mutating request and per download: who did what, with what outcome."""

from __future__ import annotations

import dataclasses
import logging

from coredumpd.apiserver.auth import interface

_log = logging.getLogger("coredumpd.audit")


@dataclasses.dataclass(frozen=True)
class Entry:
    """One audited request. `outcome` is complete, aborted or refused; `sent` counts body bytes."""

    audit_id: str
    caller: interface.Caller | None
    attributes: interface.Attributes | None
    source: str
    code: int
    sent: int
    outcome: str
    duration_s: float


def write(entry: Entry) -> None:
    """Log the entry at INFO; the log's formatter escapes what callers chose."""
    fields: dict[str, object] = {
        "audit": True,
        "auditID": entry.audit_id,
        "user": entry.caller.user if entry.caller else None,
        "groups": list(entry.caller.groups) if entry.caller else None,
        "source": entry.source,
        "code": entry.code,
        "bytes": entry.sent,
        "outcome": entry.outcome,
        "durationMs": round(entry.duration_s * 1000),
    }
    if entry.attributes:
        asked = dataclasses.asdict(entry.attributes)
        fields |= {name: value for name, value in asked.items() if value}
    verb = entry.attributes.verb if entry.attributes else "request"
    _log.info("%s %s", verb, entry.outcome, extra={"fields": fields})
