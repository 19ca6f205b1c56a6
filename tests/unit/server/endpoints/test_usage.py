from __future__ import annotations

import random

import pytest

from coredumpd import errors
from coredumpd.server.endpoints import usage
from coredumpd.settings import limits

KIB = 1024
SMALL = limits.ObjectLimitsSettings(
    objectSize=KIB,
    namespaceObjects=10,
    namespaceSize=8 * KIB,
    totalObjects=20,
    totalSize=64 * KIB,
)


def started(bounds: limits.ObjectLimitsSettings = SMALL, **used: int) -> usage.Usage:
    made = usage.Usage(bounds)
    made.start({name: usage.Amount(count, count) for name, count in used.items()}, 100)
    return made


def admitted(made: usage.Usage, namespace: str, objects: int = 1, size: int = 1) -> bool:
    """Is one more write admitted? It is as if made, and its event is still to come."""
    try:
        with made.admit(namespace, "web-0", usage.Amount(objects, size)) as write:
            write.revision = 10**9
    except errors.Forbidden:
        return False
    return True


def test_the_refusal_is_worded_as_resource_quota_words_it() -> None:
    refused: list[str] = []
    made = usage.Usage(SMALL, refused.append)
    made.start({"team-a": usage.Amount(10, 10)}, 1)
    with pytest.raises(errors.Forbidden) as caught, made.admit("team-a", "x", usage.Amount(1, 1)):
        pass
    resource = "count/coredumpendpoints.coredump.fujitsu.com"
    assert str(caught.value) == (
        'coredumpendpoints.coredump.fujitsu.com "x" is forbidden: exceeded quota: objectLimits, '
        f"requested: {resource}=1, used: {resource}=10, limited: {resource}=10"
    )
    assert refused == ["count"]


def test_a_namespace_is_bounded_in_number_and_in_bytes() -> None:
    made = started()
    assert [admitted(made, "team-a") for _ in range(12)] == [True] * 10 + [False] * 2
    assert admitted(made, "team-b", size=8 * KIB)
    assert not admitted(made, "team-b", objects=0)
    assert not admitted(made, "team-c", size=8 * KIB + 1)


def test_what_shrinks_is_always_admitted() -> None:
    made = started(SMALL, full=10)
    made.follow([usage.Difference("full", usage.Amount(0, 100 * KIB), 101)])
    assert admitted(made, "full", objects=0, size=0)
    assert admitted(made, "full", objects=-1, size=-5)


def test_a_write_counts_until_its_event_has_come_and_then_once() -> None:
    made = started(SMALL, a=8)
    with made.admit("a", "x", usage.Amount(1, 1)) as write:
        write.revision = 105
    made.follow([usage.Difference("a", usage.Amount(1, 1), 105)])
    assert admitted(made, "a")
    assert not admitted(made, "a")


def test_an_event_that_comes_before_its_answer_counts_once() -> None:
    made = started(SMALL, a=8)
    with made.admit("a", "x", usage.Amount(1, 1)) as write:
        made.follow([usage.Difference("a", usage.Amount(1, 1), 105)])
        write.revision = 105
    assert admitted(made, "a")
    assert not admitted(made, "a")


def test_a_write_that_failed_counts_no_more() -> None:
    made = started(SMALL, a=9)
    with pytest.raises(errors.Conflict), made.admit("a", "x", usage.Amount(1, 1)):
        raise errors.Conflict("somebody was quicker")
    assert admitted(made, "a")


@pytest.mark.parametrize("revision", [103, 110])
def test_a_new_count_has_what_it_saw_and_adds_what_it_did_not(revision: int) -> None:
    made = started(SMALL, a=8)
    with made.admit("a", "x", usage.Amount(1, 1)) as write:
        write.revision = 105
    made.start({"a": usage.Amount(8 if revision < 105 else 9, 9)}, revision)
    assert admitted(made, "a")
    assert not admitted(made, "a")


def test_the_last_place_is_not_taken_by_who_has_most() -> None:
    bounds = limits.ObjectLimitsSettings(namespaceObjects=1000, totalObjects=100)
    made = started(bounds)
    counts = {
        name: sum(admitted(made, name) for _ in range(200))
        for name in ("greedy", "second", "third", "fourth")
    }
    assert counts["greedy"] == 50
    assert all(counts.values())
    assert sum(counts.values()) < 100


def test_whoever_has_none_gets_the_last_place() -> None:
    assert usage.allowed(0, 99, 1000, 100) == 1
    assert usage.allowed(1, 99, 1000, 100) == 1
    assert usage.allowed(0, 100, 1000, 100) == 0
    assert usage.allowed(7, 200, 1000, 100) == 0  # the limit was lowered


def test_whatever_happens_the_numbers_agree_in_the_end() -> None:
    rng = random.Random(7)
    made = usage.Usage(limits.ObjectLimitsSettings())
    made.start({}, 0)
    truth, revision, late = usage.Amount(), 0, []
    for _ in range(500):
        amount = usage.Amount(rng.choice((0, 1)), rng.randrange(100))
        try:
            with made.admit("a", "x", amount) as write:
                if rng.random() < 0.3:
                    raise errors.Unavailable("lost")
                revision += 1
                write.revision = revision
                truth.add(amount)
                late.append(
                    usage.Difference("a", usage.Amount(amount.objects, amount.size), revision)
                )
                if rng.random() < 0.5:
                    made.follow(late)
                    late = []
        except errors.Unavailable:
            continue
    made.follow(late)
    assert made._used["a"] == made._total == truth
