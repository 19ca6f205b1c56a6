"""Dumps on stdout: as a table, or as kubectl's `-o json|yaml|wide|name` gives them.

Tested in: tests/integration/test_client.py
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from coredumpd import terminal
from coredumpd.client import coredumps
from coredumpd.formats import api

WIDE, JSON, YAML, NAME = "wide", "json", "yaml", "name"
LISTS = (WIDE, JSON, YAML, NAME)
OBJECTS = (JSON, YAML, NAME)
_NUMBERS = ("integer", "number")


def table(table: coredumps.Table, *, wide: bool, namespaces: bool, headers: bool) -> None:
    """Print the columns that kubectl would, with the namespace in front if `namespaces`."""
    shown = [index for index, one in enumerate(table.columns) if wide or not one.get("priority", 0)]
    columns = {
        str(table.columns[index]["name"]).upper(): (
            "right" if table.columns[index].get("type") in _NUMBERS else "left"
        )
        for index in shown
    }
    rows = [tuple(_text(row.cells[index]) for index in shown) for row in table.rows]
    if namespaces:
        columns = {"NAMESPACE": "left", **columns}
        rows = [
            (str(row.object["metadata"]["namespace"]), *cells)
            for row, cells in zip(table.rows, rows, strict=True)
        ]
    terminal.table(columns, rows, headers=headers)


def objects(form: str, dumps: Sequence[dict[str, Any]], *, one: bool = False) -> None:
    """Print the objects as JSON, YAML or names; `one`: not as a List."""
    if form == NAME:
        for dump in dumps:
            print(name_of(dump))
        return
    document: Any = dumps[0]
    if not one:
        document = {"apiVersion": "v1", "kind": "List", "items": list(dumps)}
    text = json.dumps(document, indent=4)
    if form == YAML:
        import yaml

        text = yaml.safe_dump(document, sort_keys=True).rstrip()
    print(text)


def name_of(dump: dict[str, Any]) -> str:
    """As kubectl prints it: RESOURCE.GROUP/NAME."""
    return f"coredump.{api.GROUP}/{dump['metadata']['name']}"


def _text(cell: Any) -> str:
    return "" if cell is None else str(cell)
