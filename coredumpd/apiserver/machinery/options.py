"""The query parameters of Kubernetes requests, parsed once into values. Pure."""

from __future__ import annotations

import base64
import binascii
import dataclasses
import json
from collections.abc import Mapping, Sequence

from coredumpd import errors
from coredumpd.apiserver.machinery import selectors

LIMIT_MAX = 10_000
_TRUE, _FALSE = (
    ("true", "1", "t", "T", "TRUE", "True", ""),
    ("false", "0", "f", "F", "FALSE", "False"),
)
VALIDATIONS = ("Strict", "Warn", "Ignore")


@dataclasses.dataclass(frozen=True)
class Write:
    """Options of create, update, patch and delete. `validation` is for unknown fields."""

    dry_run: bool
    validation: str


@dataclasses.dataclass(frozen=True)
class List:
    """Options of list and deletecollection. `limit` 0 is all; `start` is of a continue token."""

    labels: selectors.Selector
    fields: selectors.Selector
    limit: int
    revision: int
    start: str
    continued: bool


def write(query: Mapping[str, str]) -> Write:
    """Raises BadRequest, or Invalid for a dryRun that is not All."""
    dry_run = query.get("dryRun", "")
    if dry_run not in ("", "All"):
        cause = errors.Cause("dryRun", dry_run, "must be All")
        raise errors.Invalid("the options are invalid", (cause,))
    # Strict unless asked otherwise: a typo in a field's name must not pass in silence.
    validation = query.get("fieldValidation") or VALIDATIONS[0]
    if validation not in VALIDATIONS:
        cause = errors.Cause("fieldValidation", validation, f"one of {', '.join(VALIDATIONS)}")
        raise errors.Invalid("the options are invalid", (cause,))
    return Write(dry_run == "All", validation)


def list_(query: Mapping[str, str], fields: Sequence[str]) -> List:
    """Raises BadRequest; Expired for a continue token we did not make."""
    revision, start = 0, ""
    token = query.get("continue", "")
    if token:
        revision, start = parse_token(token)
    else:  # the present state is new enough for all but Exact
        at_least = number(query, "resourceVersion", 2**63 - 1)
        revision = at_least if query.get("resourceVersionMatch") == "Exact" else revision
    match = query.get("resourceVersionMatch", "")
    if match not in ("", "Exact", "NotOlderThan"):
        raise errors.BadRequest.about(
            "resourceVersionMatch", f"resourceVersionMatch is {match!r}: Exact or NotOlderThan"
        )
    return List(
        labels=selectors.labels(query.get("labelSelector", "")),
        fields=selectors.fields(query.get("fieldSelector", ""), fields),
        limit=min(number(query, "limit", 2**63 - 1), LIMIT_MAX),
        revision=revision,
        start=start,
        continued=bool(token),
    )


@dataclasses.dataclass(frozen=True)
class Watch:
    """Options of a watch. `revision` None: from now on; `initial`: existing objects come first."""

    labels: selectors.Selector
    fields: selectors.Selector
    revision: int | None
    initial: bool
    end_marked: bool  # a bookmark follows the initial events
    bookmarks: bool
    timeout_s: float | None


def watch(query: Mapping[str, str], fields: Sequence[str]) -> Watch:
    """Raises BadRequest; Invalid as k8s.io/apimachinery's ValidateListOptions is strict (KEP-3157).

    Without a revision, or with 0, a watch begins with the existing objects.
    """
    bookmarks = flag(query, "allowWatchBookmarks")
    match = query.get("resourceVersionMatch", "")
    rule = None
    if "sendInitialEvents" in query:
        if match != "NotOlderThan":
            rule = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"
        if query.get("continue"):
            rule = "sendInitialEvents is forbidden with continue"
    elif match:
        rule = "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided"
    if rule:
        cause = errors.Cause("resourceVersionMatch", match, rule)
        raise errors.Invalid("ListOptions.meta.k8s.io is invalid", (cause,))
    revision = number(query, "resourceVersion", 2**63 - 1) or None
    initial = revision is None
    if "sendInitialEvents" in query:
        initial = flag(query, "sendInitialEvents")
    timeout = number(query, "timeoutSeconds", 2**31)
    return Watch(
        labels=selectors.labels(query.get("labelSelector", "")),
        fields=selectors.fields(query.get("fieldSelector", ""), fields),
        revision=revision,
        initial=initial,
        end_marked=initial and bookmarks and "sendInitialEvents" in query,
        bookmarks=bookmarks,
        timeout_s=timeout or None,
    )


def flag(query: Mapping[str, str], name: str) -> bool:
    """A boolean parameter, as Go parses it; given without a value it is true."""
    value = query.get(name, "false")
    if value in _TRUE:
        return True
    if value in _FALSE:
        return False
    raise errors.BadRequest.about(name, f"{name} is {value!r}: true or false")


def number(query: Mapping[str, str], name: str, most: int, default: int = 0) -> int:
    """A whole number from 0 to `most`. Raises BadRequest."""
    text = query.get(name, "")
    if text == "":
        return default
    if not (text.isascii() and text.isdecimal()) or int(text[:20]) > most or len(text) > 20:
        raise errors.BadRequest.about(
            name, f"{name} is {text!r}: must be a whole number from 0 to {most}"
        )
    return int(text)


def make_token(revision: int, start: str) -> str:
    """An opaque continue token: go on behind `start`, as of `revision`."""
    data = json.dumps({"v": "coredump/1", "rv": revision, "start": start}).encode()
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def parse_token(token: str) -> tuple[int, str]:
    """(revision, start). Raises BadRequest for what `make_token` did not make."""
    try:
        data = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
        revision, start = data["rv"], data["start"]
        if data["v"] == "coredump/1" and isinstance(start, str) and type(revision) is int:
            return revision, start
    except (ValueError, KeyError, TypeError, binascii.Error, RecursionError):
        pass  # refused below, however it is wrong
    raise errors.BadRequest.about(
        "continue", "continue key is not valid: it was not made by this server"
    )
