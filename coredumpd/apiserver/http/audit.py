"""The audit log: one JSON line per mutating request and per download.

Tested in: tests/integration/server/test_lifecycle.py
"""

from __future__ import annotations

import dataclasses
import logging

from coredumpd.apiserver.auth import interface

_log = logging.getLogger("coredumpd.audit")


@dataclasses.dataclass(frozen=True)
class Event:
    """One audited request. `outcome` is complete, aborted or refused; `sent` counts body bytes."""

    audit_id: str
    caller: interface.Caller | None
    attributes: interface.Attributes | None
    source: str
    code: int
    sent: int
    outcome: str
    duration_s: float


def write(event: Event) -> None:
    """Log the event at INFO; the log's formatter escapes the texts that callers chose."""
    fields: dict[str, object] = {
        "audit": True,
        "auditID": event.audit_id,
        "user": event.caller.user if event.caller else None,
        "groups": list(event.caller.groups) if event.caller else None,
        "source": event.source,
        "code": event.code,
        "bytes": event.sent,
        "outcome": event.outcome,
        "durationMs": round(event.duration_s * 1000),
    }
    if event.attributes:
        attributes = dataclasses.asdict(event.attributes)
        fields |= {name: value for name, value in attributes.items() if value}
    verb = event.attributes.verb if event.attributes else "request"
    _log.info("%s %s", verb, event.outcome, extra={"fields": fields})
