from __future__ import annotations

import json
from typing import Any

import pytest

from coredumpd import errors
from coredumpd.formats import guard_status
from coredumpd.formats.guard_status import Event, Loss, Reply, Status

GUARD = "0123456789abcdef"
STATUS = Status(
    GUARD,
    problems=("core_pattern is not ours",),
    notices=("no cgroup of their own",),
    counters={"skipped": {"pipe-limit": 3}, "corrections": {"": 1}},
    events=(Event(7, "CorePatternDrift", "put back", 2),),
    losses=(Loss("c" * 64, "policy", "capture is disabled for its pod", 1_790_000_000),),
    pattern_ours=True,
    leaving=True,
    self_test="spool-full",
)


LOSS = {"container": "c" * 64, "reason": "policy", "problem": "", "time_s": 7}


@pytest.mark.parametrize("status", [Status(GUARD), STATUS])
def test_a_status_is_read_as_it_was_written(status: Status) -> None:
    assert Status.parse(status.encode()) == status


@pytest.mark.parametrize("reply", [Reply(GUARD), Reply(GUARD, 7, True), Reply(GUARD, 7, False)])
def test_a_reply_is_read_as_it_was_written(reply: Reply) -> None:
    assert Reply.parse(reply.encode()) == reply


def test_the_longest_status_is_one_that_is_read() -> None:
    text = "\U0001f4a5" * 5000  # 12 bytes of JSON each
    longest = Status(
        GUARD,
        problems=(text,) * 1000,
        notices=(text,) * 1000,
        events=tuple(Event(number, "Reason", text) for number in range(1000)),
        counters={"c" * 64: {"l" * 63: guard_status.NUMBER_MAX}},
    )
    data = longest.encode()
    assert len(data) <= guard_status.STATUS_BYTES_MAX
    assert len(Status.parse(data).events) == guard_status.EVENTS_MAX


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("version", 2),
        ("guard", "../../etc/passwd"),
        ("guard", None),
        ("problems", "all of them"),
        ("problems", ["x" * 2000]),
        ("problems", ["x"] * 101),
        ("notices", None),
        ("notices", ["x" * 2000]),
        ("notices", ["x"] * 101),
        ("selfTest", "no label"),
        ("selfTest", None),
        ("counters", {"skipped": 3}),
        ("counters", {"skipped": {"x": -1}}),
        ("counters", {"skipped": {"x": 1e300}}),
        ("counters", {"skipped": {"x": True}}),
        ("counters", {"skipped": {str(one): 1 for one in range(65)}}),
        ("counters", {str(one): {} for one in range(65)}),
        ("counters", {"a b": {}}),
        ("counters", {"skipped": {'x"}\nfake{': 1}}),
        ("events", [{"number": 1, "reason": "R", "message": "m"}]),
        ("events", [{"number": "1", "reason": "R", "message": "m", "count": 1}]),
        ("events", [{"number": 1, "reason": "a\nb", "message": "m", "count": 1}]),
        ("events", [{"number": 2**60, "reason": "R", "message": "m", "count": 1}]),
        ("events", [[]]),
        ("losses", [{"container": "c" * 64, "reason": "policy", "problem": ""}]),
        ("losses", [LOSS | {"container": "../x"}]),
        ("losses", [LOSS | {"reason": "a b"}]),
        ("losses", [LOSS | {"problem": "x" * 301}]),
        ("losses", [LOSS | {"time_s": -1}]),
        ("losses", [LOSS] * 501),
        ("patternOurs", 1),
        ("leaving", "no"),
    ],
)
def test_a_hostile_status_is_refused_by_name(field: str, value: Any) -> None:
    document = json.loads(STATUS.encode()) | {field: value}
    with pytest.raises(errors.BadRecord, match=field):
        Status.parse(json.dumps(document).encode())


@pytest.mark.parametrize(
    ("field", "value"),
    [("guard", "x"), ("event", -1), ("event", 1.5), ("event", True), ("ended", "yes")],
)
def test_a_hostile_reply_is_refused_by_name(field: str, value: Any) -> None:
    document = json.loads(Reply(GUARD).encode()) | {field: value}
    with pytest.raises(errors.BadRecord, match=field):
        Reply.parse(json.dumps(document).encode())


@pytest.mark.parametrize(
    "data", [b"", b"[]", b"\xff", b"{", b"[" * 100_000, b"1" * 5000, b" " * 1_000_000, b"null"]
)
def test_bytes_that_are_no_words_of_ours_are_refused(data: bytes) -> None:
    for parse in (Status.parse, Reply.parse):
        with pytest.raises(errors.BadRecord):
            parse(data)
