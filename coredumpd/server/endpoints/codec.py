"""A CoredumpEndpoint as bytes in the objects' engine, and back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from coredumpd.server import kinds
from coredumpd.server.dumps import inventory


def decode(value: bytes, revision: int) -> dict[str, Any]:
    """A stored object, with the revision that wrote it as its resourceVersion."""
    entry: dict[str, Any] = json.loads(value)
    entry["metadata"]["resourceVersion"] = str(revision)
    return entry


PREFIX = f"/{kinds.ENDPOINT.plural}/"


def pod_of(entry: Mapping[str, Any]) -> inventory.Pod:
    meta = entry["metadata"]
    return inventory.Pod(meta["namespace"], meta["name"], entry["spec"]["podUID"])


def key(namespace: str, name: str) -> str:
    return f"{PREFIX}{namespace}/{name}"


def encode(entry: Mapping[str, Any]) -> bytes:
    return json.dumps(entry, separators=(",", ":")).encode()
