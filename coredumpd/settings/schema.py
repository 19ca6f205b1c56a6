"""The configuration as a JSON Schema, for editors and for programs that write it. Pure."""

from __future__ import annotations

import dataclasses
from typing import Any

from coredumpd.settings import sections

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def document() -> dict[str, Any]:
    """The schema of a whole file. It may accept what `file.check` refuses, never the reverse."""
    return {
        "$schema": DIALECT,
        "title": "The configuration of coredumpd",
        "type": ["object", "null"],
        "additionalProperties": False,
        "properties": {name: _section(kind) for name, kind in sections.SECTIONS.items()},
    }


def _section(kind: type[Any]) -> dict[str, Any]:
    return {
        "type": ["object", "null"],
        "additionalProperties": False,
        "properties": {field.name: _setting(field) for field in dataclasses.fields(kind)},
    }


def _setting(field: dataclasses.Field[Any]) -> dict[str, Any]:
    meta = field.metadata
    described = {**meta["schema"], "description": f"{meta['doc']} ({meta['rule']})"}
    return described if meta["default"] is None else {**described, "default": meta["default"]}
