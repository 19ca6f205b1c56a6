from __future__ import annotations

import itertools
import random

import pytest
from hypothesis import given
from hypothesis import strategies as some

from coredumpd.formats import layout, names
from coredumpd.server.retention import eviction, listing

MI = 1 << 20


def stored(pod: str, number: int, size: int, time_s: int) -> listing.Stored:
    return listing.Stored(layout.DumpKey("team-a", pod, "app", f"d-{number}"), size, time_s)


@some.composite
def namespaces(draw: some.DrawFn, dumps_max: int = 25) -> list[listing.Stored]:
    row = some.tuples(some.sampled_from("abcd"), some.integers(1, 50), some.integers(0, 20))
    rows = draw(some.lists(row, max_size=dumps_max))
    return [stored(pod, number, size, time_s) for number, (pod, size, time_s) in enumerate(rows)]


def size_of(dumps: list[listing.Stored]) -> int:
    return sum(dump.size for dump in dumps)


def chosen_by(
    dumps: list[listing.Stored], excess: int, marks: eviction.Marks = eviction.NO_MARKS
) -> list[listing.Stored]:
    by_key = {dump.key: dump for dump in dumps}
    plan = eviction.plan(dumps, excess, marks)
    assert len(set(plan)) == len(plan)
    return [by_key[key] for key in plan]


def emptied(dumps: list[listing.Stored], victims: list[listing.Stored]) -> set[str]:
    """Pods that lose their last dump."""
    pods = {dump.key.pod_uid for dump in dumps}
    return pods - {dump.key.pod_uid for dump in dumps if dump not in victims}


def some_of(data: some.DataObject, dumps: list[listing.Stored]) -> set[layout.DumpKey]:
    return data.draw(some.sets(some.sampled_from([dump.key for dump in dumps]))) if dumps else set()


@given(namespaces(), some.integers(0, 400), some.data())
def test_enough_is_freed_pins_hold_and_nothing_goes_without_need(dumps, excess, data):
    marks = eviction.Marks(some_of(data, dumps), some_of(data, dumps), some_of(data, dumps))
    victims = chosen_by(dumps, excess, marks)
    free = [dump for dump in dumps if dump.key not in marks.pinned]
    assert all(victim in free for victim in victims)
    if size_of(victims) < excess:
        assert sorted(victims, key=str) == sorted(free, key=str)
    else:
        assert all(size_of(victims) - victim.size < excess for victim in victims)


@given(namespaces(dumps_max=8), some.integers(1, 200), some.data())
def test_as_few_pods_as_possible_lose_their_last_dump(dumps, excess, data):
    pinned = some_of(data, dumps)
    victims = chosen_by(dumps, excess, eviction.Marks(pinned))
    if size_of(victims) < excess:
        return
    free = [dump for dump in dumps if dump.key not in pinned]
    sets = (list(one) for n in range(len(free) + 1) for one in itertools.combinations(free, n))
    least = min(len(emptied(dumps, one)) for one in sets if size_of(one) >= excess)
    assert len(emptied(dumps, victims)) == least


@given(namespaces(), some.integers(0, 400), some.data(), some.randoms())
def test_the_plan_depends_on_the_dumps_alone(dumps, excess, data, chance: random.Random):
    marks = eviction.Marks(some_of(data, dumps), some_of(data, dumps), some_of(data, dumps))
    plan = eviction.plan(dumps, excess, marks)
    shuffled = list(dumps)
    chance.shuffle(shuffled)
    assert eviction.plan(shuffled, excess, marks) == plan


@given(namespaces(), some.integers(1, 400), some.data())
def test_what_is_read_goes_last_and_what_nobody_vouches_for_first(dumps, excess, data):
    in_use, unproven = some_of(data, dumps), some_of(data, dumps)
    victims = chosen_by(dumps, excess, eviction.Marks((), unproven, in_use))
    ordinary = [d for d in dumps if d.key not in in_use and d.key not in unproven]
    doubtful = [d for d in dumps if d.key in unproven and d.key not in in_use]
    if in_use.intersection(dump.key for dump in victims):
        assert size_of(ordinary) + size_of(doubtful) < excess
    if any(victim in ordinary for victim in victims):
        assert size_of(doubtful) < excess


@given(namespaces(), some.integers(0, 400), some.data())
def test_where_pods_are_spared_each_keeps_a_dump(dumps, excess, data):
    marks = eviction.Marks(some_of(data, dumps), (), some_of(data, dumps))
    by_key = {dump.key: dump for dump in dumps}
    victims = [by_key[key] for key in eviction.plan_sparing(dumps, excess, marks)]
    assert emptied(dumps, victims) == set()
    assert not {*marks.pinned, *marks.in_use}.intersection(dump.key for dump in victims)
    assert all(size_of(victims) - victim.size < excess for victim in victims)


def test_one_huge_dump_goes_and_not_twenty_three_small_ones():
    """As seen: a quota of 60Mi, 66.4Mi stored, 63.9Mi of them one dump."""
    small = [stored(f"pod-{number % 15}", number, MI // 9, number) for number in range(23)]
    huge = stored("huge", 99, 64 * MI - 100, 1_000)
    assert chosen_by([*small, huge], size_of([*small, huge]) - 60 * MI) == [huge]


def test_the_pod_that_holds_the_most_bytes_gives_first_its_oldest():
    many = [stored("many", number, 1, number) for number in range(10)]
    heavy = [stored("heavy", 20 + number, 30, 100 + number) for number in range(3)]
    assert chosen_by([*many, *heavy], 40) == heavy[:2]


def test_a_crash_loop_pays_for_itself():
    loop = [stored("loop", number, 10, 100 + number) for number in range(9)]
    calm = stored("calm", 99, 10, 1)
    assert chosen_by([*loop, calm], 50) == loop[:5]


def test_the_newest_of_a_pod_stays_where_that_is_enough():
    old, new = stored("a", 1, 10, 1), stored("a", 2, 10, 2)
    assert chosen_by([new, old], 5) == [old]


def test_a_pods_small_old_dump_stays_where_only_its_large_new_one_helps():
    old, new = stored("a", 1, 1, 1), stored("a", 2, 100, 2)
    assert chosen_by([old, new, stored("b", 3, 60, 3)], 50) == [new]


@pytest.mark.parametrize("excess", [0, -5])
def test_where_there_is_room_nothing_goes(excess):
    assert eviction.plan([stored("a", 1, 10, 1)], excess) == []


def test_of_two_crashes_in_a_second_the_later_process_is_the_newest() -> None:
    keys = [
        layout.DumpKey("team-a", "web", "app", names.make_id("app", 1_790_000_000, pid, 7))
        for pid in (998, 999, 1000)
    ]
    present = [listing.Stored(key, 10, 1_790_000_000) for key in keys]
    assert eviction.plan(present, 20) == keys[:2]
    assert eviction.plan_sparing(reversed(present), 30) == keys[:2]
