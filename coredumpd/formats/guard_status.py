"""The words between the two halves of an agent: the guard's status, and the shipper's reply.

The guard is privileged and has no network; the shipper has the network and no privilege. They meet
in two small files below hostDir alone. The guard replaces its status when something changes, and
touches it while nothing does; the shipper replaces its reply when it has read a new one. Neither
half trusts the other: `parse` bounds every length and number, and no field is a path or a command.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from coredumpd import errors

VERSION = 1
STATUS_BYTES_MAX = 4 * 1024 * 1024
REPLY_BYTES_MAX = 4096
EVENTS_MAX = 100
COUNTERS_MAX = 64  # names, and label values of each
TEXT_CHARS_MAX = 1024
LOSSES_MAX = 500  # containers
PROBLEM_CHARS_MAX = 300
NUMBER_MAX = 2**53
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")
_LABEL = re.compile(r"[A-Za-z0-9_.-]{0,63}")
_GUARD = re.compile(r"[0-9a-f]{16}")
_CONTAINER = re.compile(r"[0-9a-f]{64}")

Counters = Mapping[str, Mapping[str, int]]  # by the counter's name and its label's value, "": none


@dataclasses.dataclass(frozen=True)
class Event:
    """One Event for the Node, `count` times; `number` grows with each event of a guard, from 1."""

    number: int
    reason: str
    message: str
    count: int = 1


@dataclasses.dataclass(frozen=True)
class Loss:
    """The latest crash in the container with this id that left no dump, and why.

    `reason` is a label of the metric `skipped`; `problem` has the handler's words, "" where there
    are none; `time_s` is when the guard learnt of it, in seconds since the epoch.
    """

    container: str
    reason: str
    problem: str
    time_s: int


@dataclasses.dataclass(frozen=True)
class Status:
    """The guard's. `guard` names this run of it: its counters and event numbers began with it.

    `problems` are reasons for which the agent is not well, `notices` what it says although it is.
    `self_test` names the last self-test's outcome, a label of its metric; "" before the first.
    `events` are those without a reply. `leaving`: the guard was told to end, and waits for the
    verdict. `spool_keep_free`: bytes that stay free on the spool's disk; None: by its size, see
    `spool.room`.
    """

    guard: str
    problems: tuple[str, ...] = ()
    notices: tuple[str, ...] = ()
    counters: Counters = dataclasses.field(default_factory=dict)
    events: tuple[Event, ...] = ()
    losses: tuple[Loss, ...] = ()
    pattern_ours: bool = False
    leaving: bool = False
    self_test: str = ""
    spool_keep_free: int | None = None

    def encode(self) -> bytes:
        """The file's bytes, which `parse` reads."""
        document = {
            "version": VERSION,
            "guard": self.guard,
            "leaving": self.leaving,
            "spoolKeepFree": self.spool_keep_free,
            "patternOurs": self.pattern_ours,
            "problems": [problem[:TEXT_CHARS_MAX] for problem in self.problems[:EVENTS_MAX]],
            "notices": [notice[:TEXT_CHARS_MAX] for notice in self.notices[:EVENTS_MAX]],
            "selfTest": self.self_test,
            "counters": {name: dict(values) for name, values in self.counters.items()},
            "events": [
                dataclasses.asdict(event) | {"message": event.message[:TEXT_CHARS_MAX]}
                for event in self.events[:EVENTS_MAX]
            ],
            "losses": [dataclasses.asdict(loss) for loss in self.losses[-LOSSES_MAX:]],
        }
        return json.dumps(document, indent=1).encode() + b"\n"

    @classmethod
    def parse(cls, data: bytes) -> Status:
        """A status from its bytes. Raises BadRecord, which names the field and the rule."""
        document = _document("guard's status", data, STATUS_BYTES_MAX)
        return cls(
            guard=_field(document, "guard", _is_guard, "must be 16 hex digits"),
            problems=tuple(_field(document, "problems", _are_texts, "must be short texts")),
            notices=tuple(_field(document, "notices", _are_texts, "must be short texts")),
            counters=_field(document, "counters", _are_counters, "must be numbers by name, label"),
            events=tuple(
                Event(one["number"], one["reason"], one["message"], one["count"])
                for one in _field(document, "events", _are_events, "must be numbered events")
            ),
            losses=tuple(
                Loss(**loss) for loss in _field(document, "losses", _are_losses, "must be losses")
            ),
            pattern_ours=_field(document, "patternOurs", _is_bool, "must be true or false"),
            leaving=_field(document, "leaving", _is_bool, "must be true or false"),
            self_test=_field(document, "selfTest", _is_label, "must be a label"),
            spool_keep_free=_field(
                document,
                "spoolKeepFree",
                lambda value: value is None or _is_size(value),
                "must be bytes",
            ),
        )


@dataclasses.dataclass(frozen=True)
class Reply:
    """The shipper's, to the guard's run `guard`: it has reported all events up to number `event`.

    `ended` is the verdict: is the installation over, so that core_pattern goes back? None: open.
    """

    guard: str
    event: int = 0
    ended: bool | None = None

    def encode(self) -> bytes:
        """The file's bytes, which `parse` reads."""
        return json.dumps({"version": VERSION} | dataclasses.asdict(self)).encode() + b"\n"

    @classmethod
    def parse(cls, data: bytes) -> Reply:
        """A reply from its bytes. Raises BadRecord, which names the field and the rule."""
        document = _document("shipper's reply", data, REPLY_BYTES_MAX)
        return cls(
            guard=_field(document, "guard", _is_guard, "must be 16 hex digits"),
            event=_field(document, "event", _is_number, "must be a number"),
            ended=_field(
                document, "ended", lambda value: value is None or _is_bool(value), "must be a bool"
            ),
        )


def _document(what: str, data: bytes, bytes_max: int) -> dict[str, Any]:
    if len(data) > bytes_max:
        raise errors.BadRecord(f"the {what} has more than {bytes_max} bytes")
    try:
        document = json.loads(data.decode())
    except (ValueError, RecursionError) as error:
        raise errors.BadRecord(f"the {what} is not JSON: {error}") from error
    if not isinstance(document, dict) or document.get("version") != VERSION:
        raise errors.BadRecord(f"the {what} is no object of version {VERSION}")
    return document


def _field(document: dict[str, Any], name: str, accepts: Callable[[Any], bool], rule: str) -> Any:
    value = document.get(name)
    if not accepts(value):
        raise errors.BadRecord(f"{name}: {rule}, not {str(value)[:80]!r}")
    return value


def _is_bool(value: Any) -> bool:
    return isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= NUMBER_MAX


def _is_size(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= TEXT_CHARS_MAX


def _is_label(value: Any) -> bool:
    return isinstance(value, str) and _LABEL.fullmatch(value) is not None


def _is_guard(value: Any) -> bool:
    return isinstance(value, str) and _GUARD.fullmatch(value) is not None


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and len(value) <= EVENTS_MAX and all(map(_is_text, value))


def _are_counters(value: Any) -> bool:
    return _is_map(value, _NAME) and all(
        _is_map(labels, _LABEL) and all(map(_is_number, labels.values()))
        for labels in value.values()
    )


def _is_map(value: Any, names: re.Pattern[str]) -> bool:
    return (
        isinstance(value, dict) and len(value) <= COUNTERS_MAX and all(map(names.fullmatch, value))
    )


def _are_events(value: Any) -> bool:
    return isinstance(value, list) and len(value) <= EVENTS_MAX and all(map(_is_event, value))


def _are_losses(value: Any) -> bool:
    return isinstance(value, list) and len(value) <= LOSSES_MAX and all(map(_is_loss, value))


def _is_loss(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and set(value) == {field.name for field in dataclasses.fields(Loss)}
        and _matches(value["container"], _CONTAINER)
        and _matches(value["reason"], _LABEL)
        and isinstance(value["problem"], str)
        and len(value["problem"]) <= PROBLEM_CHARS_MAX
        and _is_number(value["time_s"])
    )


def _matches(value: Any, expression: re.Pattern[str]) -> bool:
    return isinstance(value, str) and expression.fullmatch(value) is not None


def _is_event(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and _is_number(value.get("number"))
        and _is_number(value.get("count"))
        and isinstance(value.get("reason"), str)
        and _NAME.fullmatch(value["reason"]) is not None
        and _is_text(value.get("message"))
    )
