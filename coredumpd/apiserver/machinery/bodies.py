"""Request bodies: JSON or YAML in, a mapping out. Everything else is a 400, 413 or 415."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import yaml

from coredumpd import errors

HEADER_BYTES_MAX = 64 * 1024  # kube-apiserver forwards tokens' extras; it allows 1 MiB itself
BODY_BYTES_MAX = 1024 * 1024  # etcd's own limit for a request is 1.5 MiB
DROPPED_BYTES_MAX = 2 * BODY_BYTES_MAX  # of a body that was refused
_DEPTH_MAX = 64
_JSON = ("application/json", "")
_YAML = ("application/yaml", "application/x-yaml", "text/yaml")


def is_soon_over(headers: Mapping[str, str]) -> bool:
    """Does a body follow that is short enough to be read and dropped?"""
    length = headers.get("Content-Length", "")
    waits = "Expect" in headers  # for 100 Continue: a client that is refused sends no body
    return length.isdecimal() and 0 < int(length[:20]) <= DROPPED_BYTES_MAX and not waits


def parse(body: bytes, content_type: str) -> dict[str, Any]:
    """The object in `body`. Raises BadRequest, or UnsupportedMediaType."""
    name = content_type.partition(";")[0].strip().lower()
    if name in _JSON:
        document = parse_json(body)
    elif name in _YAML:
        document = _parse_yaml(body)
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
        document = json.loads(body, object_pairs_hook=_unique, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise errors.BadRequest.about("body", f"the body is not JSON: {error}") from error
    _check_depth(document)
    return document


def _parse_yaml(body: bytes) -> Any:
    try:
        document = yaml.load(body, Loader=_Loader)  # noqa: S506 (a SafeLoader)
    except (yaml.YAMLError, UnicodeError, RecursionError, ValueError) as error:
        raise errors.BadRequest.about("body", f"the body is not YAML: {error}") from error
    _check_depth(document)
    return document


class _Loader(yaml.SafeLoader):
    """SafeLoader that makes only what JSON has: no aliases (they can grow), no dates."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("aliases are not accepted")
        return super().compose_node(parent, index)


_Loader.yaml_implicit_resolvers = {
    first: [(tag, regexp) for tag, regexp in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) != len(pairs):
        raise ValueError("a key stands there twice")
    return document


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON number")


def _check_depth(document: Any) -> None:
    level, depth = [document], 0
    while level:
        depth += 1
        if depth > _DEPTH_MAX:
            raise errors.BadRequest.about(
                "body", f"the body is nested deeper than {_DEPTH_MAX} levels"
            )
        level = [child for parent in level for child in _children(parent)]


def _children(parent: Any) -> list[Any]:
    if isinstance(parent, dict):
        if not all(isinstance(key, str) for key in parent):
            raise errors.BadRequest.about("body", "the body has a key that is not a string")
        return list(parent.values())
    return parent if isinstance(parent, list) else []
