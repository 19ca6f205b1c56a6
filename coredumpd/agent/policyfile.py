"""The snapshot the handler obeys, `<hostDir>/policy.json`: written whole, only when it changes."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

from coredumpd import settings
from coredumpd.agent import durable

VERSION = 1


def encode(policy: settings.PolicySettings, node: str) -> bytes:
    """The document `coredumpd.handler.policy` reads."""
    document = {"version": VERSION, "node": node} | dataclasses.asdict(policy)
    return json.dumps(document, indent=2).encode() + b"\n"


def write(host_dir: Path, policy: settings.PolicySettings, node: str) -> None:
    """Replace the snapshot. Raises StorageError."""
    durable.write(host_dir / "policy.json", encode(policy, node))
