"""The query parameters of Kubernetes requests, parsed once into values. Pure."""

from __future__ import annotations

import base64
import binascii
import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence

from coredumpd import errors
from coredumpd.apiserver.machinery import selectors

LIMIT_MAX = 10_000
MATCHES = ("Exact", "NotOlderThan")
_MATCH = "resourceVersionMatch"
_DIGITS_MAX = 20
_CHARS_MAX = 100  # of a value that an error repeats
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
    """Options of list and deletecollection.

    `limit` 0 is all; `start` is of a continue token. The list is of `revision` (0: now), and of a
    state that is not older than `at_least`.
    """

    labels: selectors.Selector = selectors.ANY
    fields: selectors.Selector = selectors.ANY
    limit: int = 0
    revision: int = 0
    at_least: int = 0
    start: str = ""
    continued: bool = False

    @property
    def filters(self) -> bool:
        """Do the selectors leave anything out?"""
        return bool(self.labels.requirements or self.fields.requirements)


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
    """Raises as kube-apiserver answers: BadRequest for what cannot be read, or InvalidOptions.

    The rules are those of ValidateListOptions in k8s.io/apimachinery. A negative `limit` is none.
    """
    limit = max(0, number(query, "limit"))
    number(query, "timeoutSeconds")  # not obeyed: a list ends by itself
    labels = selectors.labels(query.get("labelSelector", ""), fields)
    _refuse_broken(_list_problems(query))
    field_selector = selectors.fields(query.get("fieldSelector", ""), fields)
    at_least = revision_of(query)
    token, match = query.get("continue", ""), query.get("resourceVersionMatch", "")
    revision, start = 0, ""
    if token:
        revision, start = parse_token(token)
        if at_least:
            raise errors.BadRequest.about(
                "resourceVersion",
                "specifying resource version is not allowed when using continue",
            )
    elif match == "Exact" or (limit and not match):
        revision = at_least  # with a limit alone, too: so it was before there was a match
    return List(
        labels, field_selector, min(limit, LIMIT_MAX), revision, at_least, start, bool(token)
    )


def _list_problems(query: Mapping[str, str]) -> Iterator[errors.Cause]:
    match, revision = query.get("resourceVersionMatch", ""), query.get("resourceVersion", "")
    if match:
        if not revision:
            yield _forbidden(_MATCH, f"{_MATCH} is forbidden unless resourceVersion is provided")
        yield from _match_problems(query, MATCHES)
        if match == "Exact" and revision == "0":
            yield _forbidden(_MATCH, f'{_MATCH} "exact" is forbidden for resourceVersion "0"')
    if "sendInitialEvents" in query:
        yield _forbidden("sendInitialEvents", "sendInitialEvents is forbidden for list")


def _watch_problems(query: Mapping[str, str]) -> Iterator[errors.Cause]:
    match, initial = query.get("resourceVersionMatch", ""), "sendInitialEvents" in query
    if initial and match != "NotOlderThan":
        yield _forbidden(_MATCH, f"sendInitialEvents requires setting {_MATCH} to NotOlderThan")
    if match:
        if not initial:
            rule = f"{_MATCH} is forbidden for watch unless sendInitialEvents is provided"
            yield _forbidden(_MATCH, rule)
        yield from _match_problems(query, MATCHES[1:])


def _match_problems(query: Mapping[str, str], supported: Sequence[str]) -> Iterator[errors.Cause]:
    match = query.get("resourceVersionMatch", "")
    if query.get("continue"):
        yield _forbidden(_MATCH, f"{_MATCH} is forbidden when continue is provided")
    if match not in supported:
        listed = ", ".join(json.dumps(value) for value in (*supported, ""))
        rule = f"Unsupported value: {json.dumps(match[:_CHARS_MAX])}: supported values: {listed}"
        yield errors.Cause(_MATCH, None, rule)


def _forbidden(field: str, rule: str) -> errors.Cause:
    return errors.Cause(field, None, f"Forbidden: {rule}")


def _refuse_broken(problems: Iterator[errors.Cause]) -> None:
    causes = tuple(problems)
    if causes:
        raise errors.InvalidOptions(causes)


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
    """Raises as `list_`; the rules are those of KEP-3157.

    Without a revision, or with 0, a watch begins with the existing objects.
    """
    bookmarks = flag(query, "allowWatchBookmarks")
    number(query, "limit")  # not obeyed, as natively
    timeout = number(query, "timeoutSeconds")
    labels = selectors.labels(query.get("labelSelector", ""), fields)
    _refuse_broken(_watch_problems(query))
    revision = revision_of(query) or None
    initial = revision is None
    if "sendInitialEvents" in query:
        initial = flag(query, "sendInitialEvents")
    return Watch(
        labels=labels,
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


def number(
    query: Mapping[str, str], name: str, least: int = -(2**63), most: int = 2**63 - 1
) -> int:
    """A whole number, 0 where it is not given. Raises BadRequest."""
    text = query.get(name, "0")
    digits = text.removeprefix("-")
    plain = digits.isascii() and digits.isdecimal() and len(digits) <= _DIGITS_MAX
    if not plain or not least <= int(text) <= most:
        raise errors.BadRequest.about(
            name, f"{name} is {text[:_CHARS_MAX]!r}: must be a whole number from {least} to {most}"
        )
    return int(text)


def revision_of(query: Mapping[str, str]) -> int:
    """`resourceVersion`; 0 where it is not given. Raises BadRequest."""
    if not query.get("resourceVersion"):
        return 0
    return number(query, "resourceVersion", 0)


def make_token(revision: int, start: str) -> str:
    """An opaque continue token: go on behind `start`, as of `revision`."""
    data = json.dumps({"v": "coredump/1", "rv": revision, "start": start}).encode()
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def parse_token(token: str) -> tuple[int, str]:
    """(revision, start). Raises BadRequest for what `make_token` did not make."""
    try:
        data = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
        revision, start = data["rv"], data["start"]
        start.encode()
        if data["v"] == "coredump/1" and type(revision) is int and 0 < revision < 2**63:
            return revision, start
    except (ValueError, KeyError, TypeError, AttributeError, binascii.Error, RecursionError):
        pass  # refused below, however it is wrong
    raise errors.BadRequest.about(
        "continue", "continue key is not valid: it was not made by this server"
    )
