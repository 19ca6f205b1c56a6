from __future__ import annotations

import collections

import hypothesis
import pytest
from hypothesis import strategies as st

from coredumpd.apiserver.machinery import shares

HOLDERS = st.sampled_from("abcdefgh")
STEPS = st.lists(st.tuples(st.booleans(), HOLDERS), max_size=200)


def test_one_holder_alone_has_half_of_the_places():
    for can_end in (False, True):
        places = shares.Shares(10, can_end=can_end)
        assert [places.take("a") is not None for _ in range(10)] == [True] * 5 + [False] * 5
        assert places.refusals == 5
        assert places.take("b") is not None


def test_the_last_place_goes_only_to_a_holder_of_none():
    places = shares.Shares(3)
    assert places.take("a")
    assert places.take("b")
    assert places.take("a") is None
    assert places.take("b") is None
    assert places.take("c")
    assert places.take("d") is None


def test_a_full_house_ends_the_youngest_place_of_the_holder_of_most():
    places, ended = shares.Shares(4, can_end=True), []
    for number in range(2):
        places.take("a", lambda number=number: ended.append(f"a{number}"))
        places.take("b", lambda number=number: ended.append(f"b{number}"))
    assert places.take("c", lambda: ended.append("c"))
    assert len(ended) == 1
    assert ended[0] in ("a1", "b1")
    assert places.used == 4
    assert places.ended == 1


def test_a_reserved_place_is_only_for_the_system_and_is_reserved_again():
    places = shares.Shares(2, reserved=1)
    assert places.take("a")
    assert places.take("b")
    assert places.take("c") is None
    reserved = places.take("system", system=True)
    assert reserved is not None
    assert places.take("system", system=True) is None
    places.give_back(reserved)
    places.give_back(reserved)
    assert places.take("system", system=True) is not None
    assert places.used == 3


@hypothesis.given(STEPS, st.integers(1, 40), st.booleans())
def test_shares_are_fair_whatever_happens(steps, most, can_end):
    places = shares.Shares(most, can_end=can_end)
    held = collections.defaultdict(list)

    def take(holder):
        place = places.take(holder, lambda: held[holder].pop())
        if place is not None:
            held[holder].append(place)
        return place is not None

    for takes, holder in steps:
        if takes:
            counts = {other: len(own) for other, own in held.items()}
            free = most - sum(counts.values())
            richest = max(counts.values(), default=0)
            granted = take(holder)
            if not granted:
                assert counts.get(holder, 0) > 0 or free <= 0
            elif free == 1 and not can_end:
                assert counts.get(holder, 0) == 0
            elif free <= 0:
                assert counts.get(holder, 0) + 1 < richest
        elif held[holder]:
            places.give_back(held[holder].pop())
        assert places.used == sum(map(len, held.values())) <= most
        assert max(map(len, held.values()), default=0) <= max(1, (most + 1) // 2)


@hypothesis.given(st.integers(1, 6), st.integers(6, 60), st.integers(0, 5))
def test_where_places_can_be_ended_nobody_comes_too_late(holders, most, first):
    """Each wants all: however early the others were, all end with the same, but for one."""
    places, counts = shares.Shares(most, can_end=True), collections.Counter()

    def take(holder):
        if places.take(holder, lambda: counts.subtract([holder])) is not None:
            counts[holder] += 1

    order = [first % holders, *range(holders)]
    for holder in order:
        for _ in range(most):
            take(holder)
    for _ in range(most):
        for holder in range(holders):
            take(holder)
    share = min(most // holders, max(1, most // 2))
    assert min(counts[holder] for holder in range(holders)) >= share - 1


@pytest.mark.parametrize("can_end", [False, True])
def test_no_place_at_all_is_refused(can_end):
    assert shares.decide({}, "a", 0, can_end) == "refuse"
