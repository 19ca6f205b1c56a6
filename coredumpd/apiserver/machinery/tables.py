"""Lists and single objects as `meta.k8s.io` Table or PartialObjectMetadata, as kubectl asks."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from coredumpd import errors

OFFERED_FOR_OBJECT = ("Table", "PartialObjectMetadata")
OFFERED_FOR_LIST = ("Table", "PartialObjectMetadataList")
_INCLUDE = ("Metadata", "Object", "None")


@dataclasses.dataclass(frozen=True)
class Column:
    """`priority` 0 is always shown, 1 with `-o wide`; `cell` takes the object."""

    name: str
    type: str
    doc: str
    cell: Callable[[Mapping[str, Any]], Any]
    priority: int = 0
    format: str = ""

    def definition(self) -> dict[str, Any]:
        """The TableColumnDefinition."""
        return {
            "name": self.name,
            "type": self.type,
            "format": self.format,
            "description": self.doc,
            "priority": self.priority,
        }


def table(
    columns: Sequence[Column],
    objects: Sequence[Mapping[str, Any]],
    metadata: Mapping[str, Any],
    version: str = "v1",
    include: str = "Metadata",
    headless: bool = False,
) -> dict[str, Any]:
    """A Table of `objects`; `metadata` is the list's own.

    `headless`: without column definitions, as in the later events of a watch.
    """
    if include not in _INCLUDE:
        raise errors.BadRequest.about(
            "includeObject", f"includeObject is {include!r}; one of {', '.join(_INCLUDE)}"
        )
    document: dict[str, Any] = {
        "kind": "Table",
        "apiVersion": f"meta.k8s.io/{version}",
        "metadata": dict(metadata),
        "columnDefinitions": [] if headless else [column.definition() for column in columns],
        "rows": [],
    }
    for obj in objects:
        row: dict[str, Any] = {"cells": [column.cell(obj) for column in columns]}
        if include == "Object":
            row["object"] = dict(obj)
        elif include == "Metadata":
            row["object"] = partial(obj, version)
        document["rows"].append(row)
    return document


def partial(obj: Mapping[str, Any], version: str = "v1") -> dict[str, Any]:
    """The object's metadata alone."""
    return {
        "kind": "PartialObjectMetadata",
        "apiVersion": f"meta.k8s.io/{version}",
        "metadata": obj["metadata"],
    }


def partial_list(
    objects: Sequence[Mapping[str, Any]], metadata: Mapping[str, Any], version: str = "v1"
) -> dict[str, Any]:
    """A list of metadata."""
    return {
        "kind": "PartialObjectMetadataList",
        "apiVersion": f"meta.k8s.io/{version}",
        "metadata": dict(metadata),
        "items": [partial(obj, version) for obj in objects],
    }
