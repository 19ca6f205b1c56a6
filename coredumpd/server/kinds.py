"""Our kinds as data, from which discovery, OpenAPI and tables are made."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from coredumpd import units
from coredumpd.apiserver.machinery import kind, tables
from coredumpd.formats import api

GROUP, VERSION, GROUP_VERSION = api.GROUP, api.VERSION, api.GROUP_VERSION


def _size(obj: Mapping[str, Any]) -> str:
    return units.format_quantity(kind.path("status", "bytes")(obj) or 0)


def _last_crash(obj: Mapping[str, Any]) -> str:
    last = kind.path("status", "lastCrash")(obj)
    return f"{kind.age(last)} ago" if last else "<none>"


_DUMP_DOC = "The dumps as one .tar.gz. kube-apiserver cuts it after 60 s: continue with offset=."
_DOWNLOAD = (
    kind.Parameter("container", "Only dumps of this container."),
    kind.Parameter("id", "Only this dump."),
    kind.Parameter("offset", "From this byte of the archive on.", "integer"),
    kind.Parameter("sparse", "false: the holes of cores as zeros, for busybox tar.", "boolean"),
)
_PROXY_DOC = "The same bytes as dump, under a name that kube-apiserver never cuts."
_DUMP = kind.Subresource("dump", ("get",), _DUMP_DOC, "application/gzip", _DOWNLOAD)
_PROXY = kind.Subresource("proxy", ("get",), _PROXY_DOC, "application/gzip", _DOWNLOAD)
_BACKTRACE = kind.Subresource(
    "backtrace", ("get",), "The stack as text, once the dump was analysed.", "text/plain"
)

ENDPOINT = kind.Kind(
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
        tables.Column(
            "Name", "string", "The pod's name.", kind.path("metadata", "name"), 0, "name"
        ),
        tables.Column("Pod UID", "string", "The pod's uid.", kind.path("spec", "podUID")),
        tables.Column("Dumps", "integer", "Stored dumps.", kind.path("status", "dumps")),
        tables.Column("Size", "string", "Bytes in the store.", _size),
        tables.Column("Last Crash", "string", "Since the newest dump.", _last_crash),
        tables.Column(
            "Age",
            "string",
            "Since the object was created.",
            lambda obj: kind.age(kind.path("metadata", "creationTimestamp")(obj)),
        ),
    ),
    subresources=(_DUMP, _PROXY),
)


def _stored(obj: Mapping[str, Any]) -> str:
    return units.format_quantity(kind.path("status", "core", "storedSize")(obj) or 0)


def _full_size(obj: Mapping[str, Any]) -> str:
    return units.format_quantity(kind.path("status", "core", "size")(obj) or 0)


def _signal(obj: Mapping[str, Any]) -> str:
    signal = kind.path("status", "signal")(obj) or {}
    return str(signal.get("name") or signal.get("number") or "<unknown>")


def _shown(*names: str) -> Any:
    read = kind.path(*names)
    return lambda obj: str(read(obj) or "<none>")


def _truncated(obj: Mapping[str, Any]) -> str:
    truncated = kind.path("status", "core", "truncated")(obj) or {}
    return str(truncated.get("reason") or "yes") if truncated.get("is") else "no"


COREDUMP = kind.Kind(
    kind="Coredump",
    plural="coredumps",
    singular="coredump",
    short_names=("core",),
    verbs=("delete", "deletecollection", "get", "list", "watch"),
    columns=(
        tables.Column("Name", "string", "The dump's id.", kind.path("metadata", "name"), 0, "name"),
        tables.Column("Pod", "string", "The pod's name.", _shown("status", "podName")),
        tables.Column("Container", "string", "Its container.", _shown("status", "container")),
        tables.Column("Signal", "string", "What killed it.", _signal),
        tables.Column("Executable", "string", "What crashed.", _shown("status", "process", "exe")),
        tables.Column("Size", "string", "Bytes of memory in it.", _full_size),
        tables.Column(
            "Age",
            "string",
            "Since the crash.",
            lambda obj: kind.age(kind.path("metadata", "creationTimestamp")(obj)),
        ),
        tables.Column("Node", "string", "Where it ran.", _shown("status", "node"), 1),
        tables.Column("Stored", "string", "Bytes in the store.", _stored, 1),
        tables.Column("Truncated", "string", "Cut short, and why.", _truncated, 1),
        tables.Column("Image", "string", "Its image.", _shown("status", "image"), 1),
        tables.Column("Pod UID", "string", "The pod's uid.", _shown("status", "podUID"), 1),
        tables.Column("Top Frame", "string", "Where it crashed.", _shown("status", "topFrame"), 1),
    ),
    subresources=(_DUMP, _PROXY, _BACKTRACE),
)

API_GROUP = kind.Group(GROUP, VERSION, (ENDPOINT, COREDUMP))
