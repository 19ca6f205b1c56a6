"""The Coredump objects of the server, as tables whose rows have the whole object.

The server makes the columns, so `coredumpd list` shows what `kubectl get coredumps` shows.

Tested in: tests/integration/test_client.py
"""

from __future__ import annotations

import contextlib
import dataclasses
import urllib.parse
from collections.abc import AsyncIterator, Sequence
from typing import Any

from coredumpd import errors
from coredumpd.client import target as targets
from coredumpd.formats import api as api_names
from coredumpd.kube import api, client, collection

_BACKTRACE_BYTES_MAX = 4 * 1024 * 1024


@dataclasses.dataclass(frozen=True, slots=True)
class Row:
    """One dump: the cells of its table, by column, and the object."""

    cells: Sequence[Any]
    object: dict[str, Any]

    @property
    def time(self) -> str:
        """When it crashed, as RFC 3339 text that sorts as time does."""
        return str((self.object.get("status") or {}).get("time") or "")


@dataclasses.dataclass(slots=True)
class Table:
    """Rows, oldest crash first. `columns`: name, type, and priority, 0 for a narrow table."""

    columns: Sequence[dict[str, Any]]
    rows: list[Row]


@dataclasses.dataclass(frozen=True, slots=True)
class Selection:
    """Where to look, and for what. `namespace` None: in all."""

    namespace: str | None
    label_selector: str = ""
    targets: Sequence[targets.Target] = ()

    @property
    def path(self) -> str:
        """The path of the collection."""
        within = "" if self.namespace is None else f"/namespaces/{quote(self.namespace)}"
        return f"{api_names.PATH}{within}/coredumps"

    @property
    def query(self) -> dict[str, str]:
        """The selectors that the server applies."""
        query = {}
        if self.label_selector:
            query["labelSelector"] = self.label_selector
        if len(self.targets) == 1 and self.targets[0].field_selector:
            query["fieldSelector"] = self.targets[0].field_selector
        return query

    def selects(self, dump: dict[str, Any]) -> bool:
        """Is this object of any of the targets?"""
        return not self.targets or any(one.selects(dump) for one in self.targets)

    def __str__(self) -> str:
        subject = " or ".join(map(str, self.targets)) or "any pod"
        labels = f" with labels {self.label_selector}" if self.label_selector else ""
        place = "any namespace" if self.namespace is None else f"namespace {self.namespace}"
        return f"{subject}{labels} in {place}"


def quote(name: str) -> str:
    """A name as a part of a path."""
    return urllib.parse.quote(name, safe="")


async def table(kube: client.Client, selection: Selection) -> Table:
    """Every dump that is selected. Raises what the client raises."""
    query = {**selection.query, "includeObject": "Object"}
    result = Table((), [])
    async for page in collection.pages(kube, selection.path, query, headers=api.TABLE):
        result.columns = page.get("columnDefinitions") or result.columns
        result.rows += [
            Row(row["cells"], row["object"])
            for row in page.get("rows") or ()
            if selection.selects(row["object"])
        ]
    result.rows.sort(key=lambda row: row.time)
    return result


async def new(kube: client.Client, selection: Selection) -> AsyncIterator[dict[str, Any] | None]:
    """None once the dumps of now are read, then each that appears later, without end.

    Raises what the client raises for the first list.
    """
    await table(kube, selection)  # what is refused for ever is refused now; `follow` only logs
    listed = False
    known: set[str] = set()
    async for change, dump in collection.follow(kube, selection.path, selection.query):
        if change == collection.LISTED:
            if not listed:
                yield None
            listed = True
        elif change == "ADDED" and selection.selects(dump):
            uid = dump["metadata"]["uid"]
            if listed and uid not in known:
                yield dump
            known.add(uid)


async def delete(kube: client.Client, dump: dict[str, Any]) -> None:
    """Delete the dump, its bytes too. Raises what the client raises."""
    await kube.request("DELETE", path_of(dump), body={"preconditions": _uid(dump)})


async def backtrace(kube: client.Client, dump: dict[str, Any]) -> str:
    """Its stack as text, or the reason why it is not to be had. Raises what the client raises."""
    path, data = f"{path_of(dump)}/backtrace", b""
    try:
        async with contextlib.aclosing(kube.stream(path)) as chunks:
            async for chunk in chunks:
                data += chunk
                if len(data) > _BACKTRACE_BYTES_MAX:
                    raise errors.Unavailable("its backtrace has more bytes than a server sends")
    except (errors.NotFound, errors.Forbidden) as error:
        message = str(error)
        return message.partition(f"{path}: ")[2] or message
    return data.decode("utf-8", "backslashreplace")


def path_of(dump: dict[str, Any]) -> str:
    """The path of a Coredump object."""
    meta = dump["metadata"]
    return f"{api_names.PATH}/namespaces/{quote(meta['namespace'])}/coredumps/{quote(meta['name'])}"


def _uid(dump: dict[str, Any]) -> dict[str, str]:
    return {"uid": dump["metadata"]["uid"]}
