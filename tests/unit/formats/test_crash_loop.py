"""Loops of crashes, as names and counts: what is folded; nothing is lost or counted twice."""

from __future__ import annotations

import dataclasses
from typing import Any

from hypothesis import given
from hypothesis import strategies as some
from support import dumps

from coredumpd.formats import crash_loop, names
from coredumpd.formats import record as records
from coredumpd.settings import sections

RULES = sections.CrashLoopSettings()


def crash(number: int, time_s: int) -> crash_loop.Crash:
    return crash_loop.Crash(names.make_id("app", 1_790_000_000 + time_s, number, 0))


@dataclasses.dataclass
class Place:
    """A spool or a store: what is there, and how often it was folded."""

    there: dict[str, crash_loop.Crash] = dataclasses.field(default_factory=dict)
    folds: int = 0

    def put(self, one: crash_loop.Crash) -> None:
        self.there[one.id] = one

    def fold(self, rules: sections.CrashLoopSettings, cut_after: int | None = None) -> bool:
        """One pass, ended after so many removals; was there anything to do?"""
        todo = crash_loop.choose(self.there.values(), rules)
        for fold in todo:
            if fold.count is not None:
                self.folds += 1
                last = fold.counted[-1]
                id = names.make_id("app-loop", last.time_s, self.folds, 0)
                self.put(crash_loop.Crash(id, fold.count, frozenset(c.id for c in fold.counted)))
            for one in fold.counted:
                if cut_after is not None and (cut_after := cut_after - 1) < 0:
                    return True
                del self.there[one.id]
        return bool(todo)

    def own(self) -> list[crash_loop.Crash]:
        """Crashes that have their core, by age."""
        found = [one for one in self.there.values() if one.folded is None]
        return sorted(found, key=crash_loop.by_age)

    def total(self) -> int:
        """All crashes that it tells of."""
        return sum(one.count for one in self.there.values())


times = some.lists(some.integers(0, 20_000), min_size=1, max_size=60)
rules = some.builds(
    sections.CrashLoopSettings,
    first=some.integers(0, 3),
    last=some.integers(0, 4),
    window=some.sampled_from([0.0, 60.0, 3600.0]),
)


@given(times, rules, some.data())
def test_no_crash_is_lost_or_counted_twice_however_often_a_fold_is_cut(moments, chosen, data):
    place = Place()
    for number, moment in enumerate(moments):
        place.put(crash(number, moment))
        if data.draw(some.booleans()):
            place.fold(chosen, data.draw(some.none() | some.integers(0, 5)))
    while place.fold(chosen):
        pass
    assert place.total() == len(moments)


@given(times, rules)
def test_of_each_episode_the_first_and_the_last_keep_their_core(moments, chosen):
    place = Place()
    everything = [crash(number, moment) for number, moment in enumerate(moments)]
    for one in everything:
        place.put(one)
    place.fold(chosen)
    kept = {one.id for one in place.own()}
    expected = set()
    for episode in crash_loop.episodes(everything, chosen.window, crash_loop.by_age):
        if not chosen.window:
            expected |= {one.id for one in episode}
        firsts, rest = episode[: chosen.first], episode[chosen.first :]
        expected |= {one.id for one in (*firsts, *rest[len(rest) - min(len(rest), chosen.last) :])}
    assert kept == expected


@given(times)
def test_a_loop_that_is_folded_as_it_goes_ends_bounded(moments):
    place = Place()
    for number, moment in enumerate(sorted(moments)):
        place.put(crash(number, moment))
        while place.fold(RULES):
            pass
    for episode in crash_loop.episodes(place.there.values(), RULES.window, crash_loop.by_age):
        assert len([one for one in episode if one.folded is None]) <= RULES.first + RULES.last
        assert len([one for one in episode if one.folded is not None]) <= 1


def test_a_window_of_nothing_lets_every_crash_keep_its_core() -> None:
    everything = [crash(number, 0) for number in range(20)]
    rules = sections.CrashLoopSettings(first=0, last=0, window=0.0)
    assert crash_loop.choose(everything, rules) == []


def test_an_id_that_is_not_ours_is_left_alone() -> None:
    strangers = [crash_loop.Crash(f"stranger-{number}") for number in range(20)]
    assert crash_loop.choose(strangers, RULES) == []


def test_a_fold_never_names_more_than_a_record_can_hold() -> None:
    everything = [crash(number, number % 3600) for number in range(3000)]
    (fold,) = crash_loop.choose(everything, RULES)
    assert len(fold.counted) == crash_loop.FOLDED_MAX
    last = dumps.make()[1]
    made = crash_loop.counting(last, fold, "2026-01-02T03:04:05.000Z", 7)
    assert len(made.encode()) < records.RECORD_BYTES_MAX


def test_a_lone_counting_record_is_not_folded_for_ever() -> None:
    counting = crash_loop.Crash(names.make_id("app-loop", 1_790_000_000, 1, 0), 5, frozenset())
    away = crash(2, 1)
    fold = crash_loop.Fold((counting, away), 6)
    assert crash_loop.within(fold, {counting.id}) is None
    assert crash_loop.within(fold, {away.id}) == crash_loop.Fold((away,), 1)


def test_a_counting_record_tells_of_whom_how_many_and_when() -> None:
    _, last, _ = dumps.make(time_s=1_790_000_000)
    fold = crash_loop.Fold((crash(1, 0), crash_loop.of(last)), 2)
    made = crash_loop.counting(last, fold, "2026-09-21T14:00:00.000Z", 0xBEEF)
    made = records.CrashRecord.parse(made.encode())
    assert made.id == "crasher-loop-20260921t141320z-4242-beef"
    assert made.raw["crashLoop"]["count"] == 2
    assert crash_loop.first_time(made) == "2026-09-21T14:00:00.000Z"
    assert crash_loop.of(made).folded == {one.id for one in fold.counted}
    assert crash_loop.program(made.id) == crash_loop.program(last.id)
    assert made.key().pod_uid == last.key().pod_uid


def test_a_count_that_cannot_be_read_is_a_crash_of_its_own() -> None:
    for said in ({}, {"count": "7", "folded": []}, {"count": True, "folded": []}, [], "loop"):
        _, one, _ = dumps.make(crashLoop=said)
        assert crash_loop.of(one) == crash_loop.Crash(one.id)


def test_restarts_of_a_container_are_one_loop_and_another_signal_is_not() -> None:
    def of(**changes: Any) -> Any:
        return crash_loop.same_crash(dumps.make(**changes)[1])

    assert of(containerID="a" * 64) == of(containerID="b" * 64)
    assert of() != of(signal={"number": 6, "name": "SIGABRT"})
    assert of() != of(exe="other")
    assert of() != of(container="sidecar")


def test_programs_without_a_readable_exe_are_told_apart_by_their_short_names() -> None:
    def of(comm: str) -> Any:
        process = {"pid": 7, "comm": comm, "exe": None}
        return crash_loop.same_crash(dumps.crash(process=process))

    assert of("one") == of("one")
    assert of("one") != of("other")


def test_pods_of_one_container_name_are_told_apart() -> None:
    of = crash_loop.same_crash
    assert of(dumps.crash(podUID="a")) != of(dumps.crash(podUID="b"))
