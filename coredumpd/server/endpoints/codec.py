"""A CoredumpEndpoint as bytes in the objects' engine, and back. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from coredumpd.server import kinds
from coredumpd.server.dumps import inventory

PREFIX = f"/{kinds.ENDPOINT.plural}/"


def key(namespace: str, name: str) -> str:
    """The engine's key of an object."""
    return f"{PREFIX}{namespace}/{name}"


def encode(document: Mapping[str, Any]) -> bytes:
    """An object as it is stored."""
    return json.dumps(document, separators=(",", ":")).encode()


def decode(value: bytes, revision: int) -> dict[str, Any]:
    """A stored object, with the revision that wrote it as its resourceVersion."""
    document: dict[str, Any] = json.loads(value)
    document["metadata"]["resourceVersion"] = str(revision)
    return document


def namespace_of(key: str) -> str:
    """The namespace in an engine's key."""
    return key.removeprefix(PREFIX).partition("/")[0]


def pod_of(document: Mapping[str, Any]) -> inventory.Pod:
    """The pod that an object names."""
    meta = document["metadata"]
    return inventory.Pod(meta["namespace"], meta["name"], document["spec"]["podUID"])
