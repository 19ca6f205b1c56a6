from __future__ import annotations

import collections

from hypothesis import given
from hypothesis import strategies as some

from coredumpd.formats import layout
from coredumpd.server.retention import eviction, listing


def stored(pod: str, number: int, size: int, time_s: int) -> listing.Stored:
    return listing.Stored(layout.DumpKey("team-a", pod, "app", f"d-{number}"), size, time_s)


@some.composite
def namespaces(draw: some.DrawFn) -> list[listing.Stored]:
    rows = draw(
        some.lists(
            some.tuples(
                some.sampled_from(["pod-1", "pod-2", "pod-3"]),
                some.integers(0, 50),
                some.integers(0, 20),
            ),
            max_size=25,
        )
    )
    return [stored(pod, number, size, time_s) for number, (pod, size, time_s) in enumerate(rows)]


def left(dumps: list[listing.Stored], victims: list[layout.DumpKey]) -> list[listing.Stored]:
    return [dump for dump in dumps if dump.key not in victims]


@given(namespaces(), some.integers(0, 400), some.data())
def test_the_quota_is_met_and_nothing_goes_without_need(dumps, quota, data):
    keys = [dump.key for dump in dumps]
    in_use = data.draw(some.sets(some.sampled_from(keys))) if keys else set()
    victims = eviction.select(dumps, quota, in_use)
    assert len(set(victims)) == len(victims)
    rest = left(dumps, victims)
    used = sum(dump.size for dump in rest)
    if dumps:
        newest = max(dumps, key=lambda dump: (dump.time_s, str(dump.key)))
        assert newest.key not in victims
        assert used <= quota or rest == [newest]
    if victims:  # without the last one it would not have been enough
        last = next(dump for dump in dumps if dump.key == victims[-1])
        assert used + last.size > quota
    if set(victims) & in_use:  # only when all the others but the newest had to go as well
        assert all(dump.key in in_use or dump == newest for dump in rest)


@given(namespaces(), some.integers(0, 400))
def test_each_victim_is_the_oldest_of_the_pod_that_has_the_most(dumps, quota):
    newest = max(dumps, key=lambda dump: (dump.time_s, str(dump.key)), default=None)
    there = [dump for dump in dumps if dump != newest]
    for victim in eviction.select(dumps, quota):
        counts = collections.Counter(dump.key.pod_uid for dump in there)
        assert counts[victim.pod_uid] == max(counts.values())
        of_pod = [dump for dump in there if dump.key.pod_uid == victim.pod_uid]
        oldest = min(of_pod, key=lambda dump: (dump.time_s, str(dump.key)))
        assert oldest.key == victim
        there.remove(oldest)


def test_a_crash_loop_pays_for_itself() -> None:
    loop = [stored("loop", number, 10, 100 + number) for number in range(9)]
    calm = stored("calm", 99, 10, 1)
    victims = eviction.select([*loop, calm], 50)
    assert victims == [dump.key for dump in loop[:5]]


def test_the_newest_stays_even_if_it_alone_is_over() -> None:
    old, new = stored("a", 1, 10, 1), stored("b", 2, 1000, 2)
    assert eviction.select([old, new], 100) == [old.key]
