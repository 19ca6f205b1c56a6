"""What kube-apiserver's audit log says about the requests of one account."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

AGENT = "system:serviceaccount:coredumpd:coredumpd-agent"
_LOG, _POLICY = "audit.jsonl", "audit-policy.json"


@dataclasses.dataclass(frozen=True)
class Request:
    """One request, and how it was answered. `what` is a resource, or a path of no resource."""

    what: str
    verb: str
    uri: str
    code: int


def flags(directory: Path) -> tuple[str, ...]:
    """kube-apiserver's, so that it logs the agent's requests into `directory`."""
    rules = [{"level": "Metadata", "users": [AGENT]}, {"level": "None"}]
    policy = {"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "rules": rules}
    (directory / _POLICY).write_text(json.dumps(policy))
    return (
        f"--audit-policy-file={directory / _POLICY}",
        f"--audit-log-path={directory / _LOG}",
        "--audit-log-mode=blocking",
    )


def requests(directory: Path) -> list[Request]:
    """The agent's requests so far, those that go on included."""
    lines = (directory / _LOG).read_text().splitlines()
    return [
        Request(
            event.get("objectRef", {}).get("resource", event["requestURI"].partition("?")[0]),
            event["verb"],
            event["requestURI"],
            event.get("responseStatus", {}).get("code", 0),
        )
        for event in map(json.loads, lines)
        if event["user"]["username"] == AGENT
    ]
