"""A group of kinds, as data: names, verbs, columns, subresources. Pure."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping
from typing import Any

from coredumpd import units
from coredumpd.apiserver.machinery import tables


@dataclasses.dataclass(frozen=True)
class Parameter:
    """A parameter of a request, in its `place`: "query" or "path".

    `type` is string, integer or boolean.
    """

    name: str
    doc: str
    type: str = "string"
    place: str = "query"


@dataclasses.dataclass(frozen=True)
class Subresource:
    """Part of an object with a right of its own: RBAC calls it `<plural>/<name>`.

    A GET answers bytes of the media type `produces`; `parameters` are those of its query.
    """

    name: str
    verbs: tuple[str, ...]
    doc: str
    produces: str
    parameters: tuple[Parameter, ...] = ()


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


@dataclasses.dataclass(frozen=True)
class Group:
    """One version of an API group, and the kinds it serves."""

    name: str
    version: str
    kinds: tuple[Kind, ...]

    @property
    def group_version(self) -> str:
        """`GROUP/VERSION`, as `apiVersion` of its objects says it."""
        return f"{self.name}/{self.version}"

    @property
    def path(self) -> str:
        """The URL path below which everything of the group lies."""
        return f"/apis/{self.group_version}"

    @property
    def schema_prefix(self) -> str:
        """The beginning of its schemas' names: `com.example.v1` for `example.com/v1`."""
        return ".".join((*reversed(self.name.split(".")), self.version))


def path(*names: str) -> Any:
    """A reader of a nested field of an object; None where it is missing."""

    def read(obj: Mapping[str, Any]) -> Any:
        value: Any = obj
        for name in names:
            value = value.get(name) if isinstance(value, Mapping) else None
        return value

    return read


def age(timestamp: str | None, now: float | None = None) -> str:
    """How long ago an RFC 3339 time is, as `kubectl get` shows it; `now` since the epoch."""
    if not timestamp:
        return "<unknown>"
    try:
        seconds = units.parse_timestamp(timestamp)
    except ValueError:
        return "<invalid>"
    return units.format_duration(max((time.time() if now is None else now) - seconds, 0))
