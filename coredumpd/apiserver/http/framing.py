"""How a request's body is delimited (RFC 9112, section 6): where that is in doubt, it is refused.

Two servers that read a length differently see different requests in the same bytes; ours stands
behind kube-apiserver, so it never guesses.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import TypeVar

from tornado import httputil

from coredumpd import errors
from coredumpd.apiserver.machinery import bodies, status

_DIGITS = re.compile(r"[0-9]{1,18}")
_LINES_AROUND = 4  # the request line, the empty one, and empty ones before
_Head = TypeVar("_Head")


def parse_head(parse: Callable[[bytes], _Head], data: bytes) -> _Head:
    """`parse`, which is Tornado's, of a head with few enough lines; raises its HTTPInputError.

    It takes 5 us for a line, on the event loop, before anything is known about the caller.
    """
    if data.count(b"\n") > bodies.HEADER_LINES_MAX + _LINES_AROUND:
        raise httputil.HTTPInputError(f"more than {bodies.HEADER_LINES_MAX} header lines")
    return parse(data)


def problem(headers: httputil.HTTPHeaders) -> errors.CoredumpdError | None:
    """The error of a request whose body has no certain end; None if it has one.

    Longer bodies than the listener drops are left to handlers: some take more.
    """
    lengths = headers.get_list("Content-Length")
    encodings = headers.get_list("Transfer-Encoding")
    if len(lengths) > 1 or (lengths and _DIGITS.fullmatch(lengths[0]) is None):
        return errors.BadRequest.about("Content-Length", "Content-Length must be one whole number")
    if len(encodings) > 1 or (encodings and encodings[0].lower() != "chunked"):
        return errors.BadRequest.about("Transfer-Encoding", "Transfer-Encoding may be chunked only")
    if lengths and encodings:
        rule = "Content-Length and Transfer-Encoding exclude one another"
        return errors.BadRequest.about("Content-Length", rule)
    return None


def refuse(
    connection: httputil.HTTPConnection,
    method: str,
    headers: httputil.HTTPHeaders,
    error: errors.CoredumpdError,
) -> None:
    """Answer `error` and close. The `headers` of the request are emptied: it has no body."""
    for name in ("Content-Length", "Transfer-Encoding", "Expect"):
        if name in headers:
            del headers[name]
    data = json.dumps(status.of(error)).encode() + b"\n"
    fields = httputil.HTTPHeaders(
        {
            "Content-Type": "application/json",
            "Content-Length": str(len(data)),
            "Connection": "close",
        }
    )
    line = httputil.ResponseStartLine("HTTP/1.1", error.http_status, "Bad Request")
    connection.write_headers(line, fields, None if method == "HEAD" else data)
    connection.finish()
