"""The bytes of an archive that a request selects: `offset=`, Range, If-Range, If-None-Match. Pure.

RFC 9110 sections 13 and 14. `offset=N` names another representation, the archive from byte N on,
with an ETag of its own; a Range then counts within that.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping

from coredumpd import errors

_RANGE = re.compile(r"bytes=\s*(\d{0,19})\s*-\s*(\d{0,19})\s*")


@dataclasses.dataclass(frozen=True)
class Reply:
    """Status and bytes `first` to `end` (exclusive) of the archive, with the headers to send."""

    code: int
    first: int
    end: int
    headers: Mapping[str, str]


def decide(headers: Mapping[str, str], offset: int, length: int, etag: str) -> Reply:
    """The reply for an archive of `length` bytes. Raises RangeNotSatisfiable beyond its end.

    An offset that equals the length is a download that was complete: nothing more to send.
    """
    if offset > length:
        raise errors.RangeNotSatisfiable.about(
            "offset",
            f"offset is {offset}, the archive has {length} bytes; is the file already complete?",
        )
    tag = etag if offset == 0 else f'{etag[:-1]}-{offset}"'
    size = length - offset
    common = {"ETag": tag, "Accept-Ranges": "bytes"}
    if _lists(headers.get("If-None-Match", ""), tag):
        return Reply(304, offset, offset, common)
    if "If-Match" in headers and not _lists(headers["If-Match"], tag):
        raise PreconditionFailed(f"the archive's ETag is {tag} now; start again")
    selection = _range(headers, size, tag)
    if selection is None:
        return Reply(200, offset, length, {**common, "Content-Length": str(size)})
    first, end = selection
    if first >= end:
        raise RangeBeyondEnd(f"the range starts beyond the end: there are {size} bytes", size)
    partial = {
        "Content-Length": str(end - first),
        "Content-Range": f"bytes {first}-{end - 1}/{size}",
    }
    return Reply(206, offset + first, offset + end, {**common, **partial})


class PreconditionFailed(errors.Conflict):
    """If-Match does not hold (HTTP 412)."""

    http_status = 412
    reason = "PreconditionFailed"


class RangeBeyondEnd(errors.RangeNotSatisfiable):
    """A Range that holds no byte; `size` goes into Content-Range."""

    def __init__(self, message: str, size: int) -> None:
        super().__init__(message)
        self.size = size


def _range(headers: Mapping[str, str], size: int, tag: str) -> tuple[int, int] | None:
    """The one range of the request; None for none, several, malformed ones, or a stale If-Range.

    Answering those with the whole is what RFC 9110 section 14.2 allows.
    """
    if headers.get("If-Range", tag).strip() != tag:
        return None
    match = _RANGE.fullmatch(headers.get("Range", "").strip())
    if match is None or match[1] == match[2] == "":
        return None
    if match[1] == "":
        return max(size - int(match[2]), 0), size
    first = int(match[1])
    if match[2] == "":
        return first, size
    last = int(match[2])
    return None if last < first else (first, min(last + 1, size))


def _lists(header: str, tag: str) -> bool:
    """Is `tag` in a list of entity tags? Weak ones match too: the comparison for reading."""
    tags = [item.strip().removeprefix("W/") for item in header.split(",")]
    return tag in tags or "*" in tags
