"""Request bodies: JSON or YAML in, a mapping out. Everything else is a 400, 413 or 415.

YAML is here for people who write it by hand, so it may be short, and means only what JSON can say.
It is read as a stream of libyaml's events: PyYAML's own loaders are in Python, resolve what JSON
does not have (dates, `1:30` to the base of 60, binary), and make values before they can be counted.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import yaml

from coredumpd import errors

HEADER_BYTES_MAX = 64 * 1024  # kube-apiserver forwards tokens' extras; it allows 1 MiB itself
HEADER_LINES_MAX = 1024  # one for each group of a user
BODY_BYTES_MAX = 1024 * 1024  # etcd's own limit for a request is 1.5 MiB
YAML_BYTES_MAX = 64 * 1024  # libyaml takes 30 ms for the slowest of them
DROPPED_BYTES_MAX = 2 * BODY_BYTES_MAX  # of a body that was refused
DEPTH_MAX = 64
_JSON = ("application/json", "")
_YAML = ("application/yaml", "application/x-yaml", "text/yaml")
_NULLS = ("", "~", "null")
_BOOLEANS = {"true": True, "false": False}
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")  # RFC 8259, section 6


def is_soon_over(headers: Mapping[str, str]) -> bool:
    """Does a body follow that is short enough to be read and dropped?"""
    length = headers.get("Content-Length", "")
    waits = "Expect" in headers  # for 100 Continue: a client that is refused sends no body
    return length.isdecimal() and 0 < int(length[:20]) <= DROPPED_BYTES_MAX and not waits


def parse(body: bytes, content_type: str) -> dict[str, Any]:
    """The object in `body`. Raises BadRequest, TooLarge or UnsupportedMediaType."""
    name = content_type.partition(";")[0].strip().lower()
    if name in _JSON:
        document = parse_json(body)
    elif name in _YAML:
        document = parse_yaml(body)
    else:
        content_types = ", ".join((_JSON[0], _YAML[0]))
        raise errors.UnsupportedMediaType(
            f"the body's Content-Type is {content_type!r}; accepted are {content_types}"
        )
    if not isinstance(document, dict):
        raise errors.BadRequest.about("body", "the body must be an object")
    return document


def parse_json(body: bytes) -> Any:
    """Any JSON value. Raises BadRequest; a key written twice counts as malformed."""
    try:
        document = json.loads(
            body,
            object_pairs_hook=_unique,
            parse_constant=_refuse_constant,
            parse_float=_finite,
        )
    except (ValueError, RecursionError) as error:
        raise errors.BadRequest.about("body", f"the body is not JSON: {error}") from error
    if not is_shallow(document):
        raise _too_deep()
    return document


def parse_yaml(body: bytes) -> Any:
    """Any JSON value, written as one YAML document. Raises BadRequest, or TooLarge."""
    if len(body) > YAML_BYTES_MAX:
        raise errors.TooLarge.about(
            "body", f"a YAML body is at most {YAML_BYTES_MAX} bytes long; JSON may be longer"
        )
    try:
        return _Builder().build(yaml.parse(body, Loader=yaml.CSafeLoader))
    except (yaml.YAMLError, UnicodeError, ValueError) as error:
        problem = " ".join(str(error).split())
        raise errors.BadRequest.about("body", f"the body is not YAML: {problem}") from error


def is_shallow(document: Any) -> bool:
    """Is it nested at most DEPTH_MAX levels deep?"""
    level, depth = [document], 0
    while level:
        depth += 1
        if depth > DEPTH_MAX:
            return False
        level = [child for parent in level for child in _children(parent)]
    return True


def _children(parent: Any) -> list[Any]:
    if isinstance(parent, dict):
        return list(parent.values())
    return parent if isinstance(parent, list) else []


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) != len(pairs):
        raise ValueError("a key stands there twice")
    return document


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"the number {text[:40]} is too large")
    return number


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON number")


class _Builder:
    """Makes one value of YAML events. Raises ValueError for what JSON could not say."""

    def build(self, events: Iterator[yaml.Event]) -> Any:
        """The value of the only document; None without one."""
        open_: list[tuple[Callable[[Any], None], Any]] = []  # adders to what is not complete yet
        documents: list[Any] = []
        add: Callable[[Any], None] = documents.append
        for event in events:
            if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
                raise ValueError("anchors and aliases are not accepted")
            if isinstance(event, yaml.ScalarEvent):
                add(_scalar(event))
            elif isinstance(event, yaml.MappingStartEvent | yaml.SequenceStartEvent):
                if event.tag is not None:
                    raise ValueError(f"the tag {event.tag[:100]} is not accepted")
                if len(open_) + 1 >= DEPTH_MAX:
                    raise _too_deep()
                value: Any = {} if isinstance(event, yaml.MappingStartEvent) else []
                open_.append((add, value))
                add = _Members(value) if isinstance(value, dict) else value.append
            elif isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
                add, value = open_.pop()
                add(value)
            elif isinstance(event, yaml.DocumentStartEvent) and documents:
                raise ValueError("there is more than one document")
        return documents[0] if documents else None


class _Members:
    """Adds members to a mapping: takes a key, then its value, and so on."""

    def __init__(self, mapping: dict[str, Any]) -> None:
        self._mapping = mapping
        self._key: str | None = None

    def __call__(self, value: Any) -> None:
        if self._key is not None:
            self._mapping[self._key], self._key = value, None
            return
        if not isinstance(value, str):
            raise ValueError("a key is not a string")
        if value in self._mapping:
            raise ValueError(f"the key {value[:100]!r} stands there twice")
        self._key = value


def _scalar(event: yaml.ScalarEvent) -> Any:
    """A string if it is quoted; else what the same word means in JSON, or a string."""
    text: str = event.value
    if event.tag is not None:
        raise ValueError(f"the tag {event.tag[:100]} is not accepted")
    if not event.implicit[0]:
        return text
    if text in _NULLS:
        return None
    if text in _BOOLEANS:
        return _BOOLEANS[text]
    number = _NUMBER.fullmatch(text)
    if number is None:
        return text
    return int(text) if number[1] is None and number[2] is None else _finite(text)


def _too_deep() -> errors.BadRequest:
    return errors.BadRequest.about("body", f"the body is nested deeper than {DEPTH_MAX} levels")
