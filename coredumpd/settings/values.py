"""The kinds of values that settings have: how one is parsed, and the rule that a wrong one breaks.

A kind of value is (parser, rule, JSON schema). The schema is as strict as a pattern can be: it may
accept what the parser refuses, never the other way round.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from coredumpd import units
from coredumpd.settings import parsers

Parser = Callable[[object], Any]
Schema = Mapping[str, Any]
Kind = tuple[Parser, str, Schema]


def setting(default: object, parse: Parser, rule: str, schema: Schema, doc: str) -> Any:
    """A field: `default` as a user would write it, `parse` raises ValueError, `rule` says why."""
    metadata = {"parse": parse, "rule": rule, "schema": schema, "doc": doc, "default": default}
    value = None if default is None else parse(default)
    return dataclasses.field(default=value, metadata=metadata)


def one_of(*words: str) -> Kind:
    def parse(value: object) -> str:
        if value not in words:
            raise ValueError
        return str(value)

    return parse, "must be one of " + ", ".join(words), {"enum": list(words)}


def integer(least: int, most: int) -> Kind:
    def parse(value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise ValueError
        return value

    schema = {"type": "integer", "minimum": least, "maximum": most}
    return parse, f"must be a whole number from {least} to {most}", schema


def or_percentage(kind: Kind) -> Kind:
    """A number by `kind`, an int, or a percentage: a text such as "20%"."""
    parse_number, rule, schema = kind

    def parse(value: object) -> int | str:
        is_percentage = isinstance(value, str) and value.endswith("%")
        return parsers.percentage(value) if is_percentage else int(parse_number(value))

    return parse, f'{rule}, or a percentage such as "20%"', {"anyOf": [schema, _PERCENT_SCHEMA]}


def size_from(least: str) -> Kind:
    """A size of at least `least`, which is written as a user would write it."""

    def parse(value: object) -> int:
        size = units.parse_quantity(value)
        if size < units.parse_quantity(least):
            raise ValueError
        return size

    return parse, f"{units.QUANTITY_RULE}, and at least {least}", _SIZE_SCHEMA


def named(rule: str) -> Kind:
    """Any text that is not empty; `rule` says which."""
    return parsers.text, rule, _TEXT_SCHEMA


_TEXT_SCHEMA = {"type": "string", "minLength": 1}
_PATH_SCHEMA = {"type": "string", "pattern": "^/"}
_PERCENT_SCHEMA = {"type": "string", "pattern": r"^([0-9]{1,2}(\.[0-9]{1,3})?|100)%$"}
_SIZE_SCHEMA = {
    "anyOf": [
        {"type": "integer", "minimum": 0},
        {"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?(Ki|Mi|Gi|Ti|Pi|k|M|G|T|P)?$"},
    ]
}
_DURATION_SCHEMA = {
    "anyOf": [
        {"const": 0},
        {"type": "string", "pattern": r"^(0|([0-9]+(\.[0-9]+)?(ms|s|m|h|d))+)$"},
    ]
}
SIZE: Kind = (units.parse_quantity, units.QUANTITY_RULE, _SIZE_SCHEMA)
DURATION: Kind = (units.parse_duration, units.DURATION_RULE, _DURATION_SCHEMA)
POSITIVE_DURATION: Kind = (
    parsers.positive_duration,
    units.DURATION_RULE + ", and more than 0",
    _DURATION_SCHEMA,
)
BOOLEAN: Kind = (parsers.boolean, "must be true or false", {"type": "boolean"})
NAME: Kind = named("must be a name")
PATH: Kind = (parsers.path, "must be an absolute path without '..'", _PATH_SCHEMA)
PATHS: Kind = (
    parsers.paths,
    "must be a list of absolute paths",
    {"type": "array", "items": _PATH_SCHEMA},
)
STORE_RULE = (
    "must be a URL file:///DIRECTORY, s3://BUCKET/PREFIX, gs://BUCKET/PREFIX"
    " or az://CONTAINER/PREFIX, without credentials"
)
STORE: Kind = (
    parsers.store_url,
    STORE_RULE,
    {"type": "string", "pattern": "^(file:///|(s3|gs|az)://)"},
)
TARGET_RULE = f"{STORE_RULE}, or https://HOST:PORT of a coredumpd server"
TARGET: Kind = (
    parsers.target_url,
    TARGET_RULE,
    {"type": "string", "pattern": "^(file:///|(s3|gs|az)://|https:)"},
)
ACCOUNT_RULE = "must be system:serviceaccount:NAMESPACE:NAME"
ACCOUNT: Kind = (
    parsers.account,
    ACCOUNT_RULE,
    {"type": "string", "pattern": "^system:serviceaccount:[^:]+:[^:]+$"},
)
ENDPOINT: Kind = (
    parsers.endpoint,
    "must be a URL http[s]://HOST[:PORT] without credentials",
    {"type": "string", "pattern": "^https?://"},
)
OBJECTS_RULE = (
    "must be a URL sqlite:////PATH, or etcd://HOST:PORT,HOST:PORT/PREFIX without credentials"
    " (etcd+http:// without TLS)"
)
OBJECTS: Kind = (
    parsers.objects_url,
    OBJECTS_RULE,
    {"type": "string", "pattern": r"^(sqlite:////|etcd(\+http)?://)"},
)
