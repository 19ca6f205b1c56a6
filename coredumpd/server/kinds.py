"""What we serve: one description per kind, from which discovery, OpenAPI and tables are made."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from coredumpd import units
from coredumpd.apiserver.machinery import kind, tables

GROUP, VERSION = "coredump.fujitsu.com", "v1alpha1"
GROUP_VERSION = f"{GROUP}/{VERSION}"
BASE = f"/apis/{GROUP_VERSION}"


def _size(entry: Mapping[str, Any]) -> str:
    return units.format_quantity(kind.path("status", "bytes")(entry) or 0)


def _last_crash(entry: Mapping[str, Any]) -> str:
    last = kind.path("status", "lastCrash")(entry)
    return f"{kind.age(last)} ago" if last else "<none>"


_DUMP_DOC = "The dumps as one .tar.gz. kube-apiserver cuts it after 60 s: continue with offset=."
_PROXY_DOC = "The same bytes as dump, under a name that kube-apiserver never cuts."

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
            lambda entry: kind.age(kind.path("metadata", "creationTimestamp")(entry)),
        ),
    ),
    subresources=(
        kind.Subresource("dump", ("get",), _DUMP_DOC),
        kind.Subresource("proxy", ("get",), _PROXY_DOC),
    ),
)


def _stored(entry: Mapping[str, Any]) -> str:
    return units.format_quantity(kind.path("status", "core", "storedSize")(entry) or 0)


def _full_size(entry: Mapping[str, Any]) -> str:
    return units.format_quantity(kind.path("status", "core", "size")(entry) or 0)


def _signal(entry: Mapping[str, Any]) -> str:
    signal = kind.path("status", "signal")(entry) or {}
    return str(signal.get("name") or signal.get("number") or "<unknown>")


def _shown(*names: str) -> Any:
    read = kind.path(*names)
    return lambda entry: str(read(entry) or "<none>")


def _truncated(entry: Mapping[str, Any]) -> str:
    truncated = kind.path("status", "core", "truncated")(entry) or {}
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
            lambda entry: kind.age(kind.path("metadata", "creationTimestamp")(entry)),
        ),
        tables.Column("Node", "string", "Where it ran.", _shown("status", "node"), 1),
        tables.Column("Stored", "string", "Bytes in the store.", _stored, 1),
        tables.Column("Truncated", "string", "Cut short, and why.", _truncated, 1),
        tables.Column("Image", "string", "Its image.", _shown("status", "image"), 1),
        tables.Column("Pod UID", "string", "The pod's uid.", _shown("status", "podUID"), 1),
        tables.Column("Top Frame", "string", "Where it crashed.", _shown("status", "topFrame"), 1),
    ),
    subresources=(
        kind.Subresource("dump", ("get",), _DUMP_DOC),
        kind.Subresource("proxy", ("get",), _PROXY_DOC),
        kind.Subresource("backtrace", ("get",), "The stack as text, once the dump was analysed."),
    ),
)

ALL = (ENDPOINT, COREDUMP)
