"""What we serve: one description per kind, from which discovery, OpenAPI and tables are made."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Mapping
from typing import Any

from coredumpd import units
from coredumpd.web import tables

GROUP, VERSION = "coredump.fujitsu.com", "v1alpha1"
GROUP_VERSION = f"{GROUP}/{VERSION}"
BASE = f"/apis/{GROUP_VERSION}"


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


def _size(entry: Mapping[str, Any]) -> str:
    return units.format_quantity(path("status", "bytes")(entry) or 0)


def _last_crash(entry: Mapping[str, Any]) -> str:
    last = path("status", "lastCrash")(entry)
    return f"{age(last)} ago" if last else "<none>"


_DUMP_DOC = "The dumps as one .tar.gz. kube-apiserver cuts it after 60 s: continue with offset=."
_PROXY_DOC = "The same bytes as dump, under a name that kube-apiserver never cuts."

ENDPOINT = Kind(
    kind="CoredumpEndpoint",
    plural="coredumpendpoints",
    singular="coredumpendpoint",
    short_names=("cde",),
    verbs=(
        "create",
        "delete",
        "deletecollection",
        "get",
        "list",
        "patch",
        "update",
        "watch",
    ),
    columns=(
        tables.Column("Name", "string", "The pod's name.", path("metadata", "name"), 0, "name"),
        tables.Column("Pod UID", "string", "The pod's uid.", path("spec", "podUID")),
        tables.Column("Dumps", "integer", "Stored dumps.", path("status", "dumps")),
        tables.Column("Size", "string", "Bytes in the store.", _size),
        tables.Column("Last Crash", "string", "Since the newest dump.", _last_crash),
        tables.Column(
            "Age",
            "string",
            "Since the object was created.",
            lambda entry: age(path("metadata", "creationTimestamp")(entry)),
        ),
    ),
    subresources=(
        Subresource("dump", ("get",), _DUMP_DOC),
        Subresource("proxy", ("get",), _PROXY_DOC),
    ),
)

ALL = (ENDPOINT,)
