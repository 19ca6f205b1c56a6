"""Content negotiation, as kubectl and client-go do it: Accept, ETag.

RFC 9110 section 12.5.1, with Kubernetes' media type parameters `as`, `g` and `v`
(https://kubernetes.io/docs/reference/using-api/api-concepts/#receiving-resources-as-tables).
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from typing import Any

from coredumpd import errors

_TYPES_MAX = 64
_META = "meta.k8s.io"


@dataclasses.dataclass(frozen=True)
class MediaType:
    """`type/subtype` with its parameters, and its weight `quality`, 0 to 1."""

    name: str
    parameters: Mapping[str, str]
    quality: float

    def takes(self, name: str) -> bool:
        """Does this range include the media type `name`?"""
        major = name.partition("/")[0]
        return self.name in (name, f"{major}/*", "*/*")


def parse_accept(header: str) -> list[MediaType]:
    """The types of an Accept header, the preferred first; an empty header accepts everything."""
    types = [_parse(part) for part in header.split(",")[:_TYPES_MAX] if part.strip()]
    accepted = [media for media in types if media.quality > 0]
    if not types:
        return [MediaType("*/*", {}, 1.0)]
    return sorted(accepted, key=lambda media: -media.quality)


def _parse(part: str) -> MediaType:
    name, *pieces = (piece.strip() for piece in part.split(";"))
    parameters = {}
    for piece in pieces:
        key, _, value = piece.partition("=")
        parameters[key.strip().lower()] = value.strip().strip('"')
    try:
        quality = float(parameters.pop("q", "1"))
    except ValueError:
        quality = 0.0  # RFC 9110: a malformed weight; the safest reading is "not accepted"
    return MediaType(name.lower(), parameters, quality)


def representation(accept: str, offered: tuple[str, ...]) -> tuple[str, str]:
    """(`as` kind, its version) to answer with; ("", "") is the object itself.

    `offered` are the kinds besides the object, such as Table. Raises NotAcceptable.
    """
    for media in parse_accept(accept):
        if not media.takes("application/json"):
            continue
        kind = media.parameters.get("as", "")
        if not kind:
            return "", ""
        version = media.parameters.get("v", "")
        group = media.parameters.get("g", "")
        if kind in offered and group == _META and version in ("v1", "v1beta1"):
            return kind, version
    kinds = ", ".join(("application/json", *(f"…;as={kind};v=v1;g={_META}" for kind in offered)))
    raise errors.NotAcceptable(f"none of {accept!r} can be served; offered are {kinds}")


def etag(document: Mapping[str, Any]) -> str:
    """A strong ETag of a document's content."""
    data = json.dumps(document, sort_keys=True).encode()
    return f'"{hashlib.sha256(data).hexdigest()[:40]}"'
