"""A kind of object, as data: its names, verbs, columns and subresources."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Mapping
from typing import Any

from coredumpd import units
from coredumpd.apiserver.machinery import tables


@dataclasses.dataclass(frozen=True)
class Subresource:
    """Part of an object with a right of its own: RBAC calls it `<plural>/<name>`."""

    name: str
    verbs: tuple[str, ...]
    doc: str


@dataclasses.dataclass(frozen=True)
class Kind:
    """One resource. `verbs` lists only what works: controllers act on what is advertised."""

    kind: str
    plural: str
    singular: str
    short_names: tuple[str, ...]
    verbs: tuple[str, ...]
    columns: tuple[tables.Column, ...]
    subresources: tuple[Subresource, ...]
    categories: tuple[str, ...] = ()


def path(*names: str) -> Any:
    """A reader of a nested field of an object; None where it is missing."""

    def read(entry: Mapping[str, Any]) -> Any:
        value: Any = entry
        for name in names:
            value = value.get(name) if isinstance(value, Mapping) else None
        return value

    return read


def age(timestamp: str | None, now: datetime.datetime | None = None) -> str:
    """How long ago an RFC 3339 time is, as `kubectl get` shows it."""
    if not timestamp:
        return "<unknown>"
    try:
        when = datetime.datetime.fromisoformat(timestamp)
    except ValueError:
        return "<invalid>"
    seconds = ((now or datetime.datetime.now(datetime.UTC)) - when).total_seconds()
    return units.format_duration(max(seconds, 0))
