from __future__ import annotations

import dataclasses

import pytest

from coredumpd.agent.terminations import pending, programs, statuses

T = 1_790_000_000.0
ID = "c" * 64
END = statuses.Termination(
    *("default", "web", "1234-5678", "app", None, ID, 139, "Error", T), programs.Program()
)
SETTLED = pending.SETTLE_S + 0.1
NONE: set[str] = set()


def made(since_s: float = T - 100) -> pending.Pending:
    return pending.Pending(since_s, wait_s_max=300)


def test_an_end_is_judged_once_when_the_words_about_it_have_had_their_time() -> None:
    one = made()
    assert one.next_due() is None
    one.add(END, 0.0)
    assert one.next_due() == pending.SETTLE_S
    assert one.due(pending.SETTLE_S - 0.1, NONE) == []
    assert one.due(SETTLED, NONE) == [END]
    one.add(END, SETTLED)  # the kubelet reports it with every change of the pod
    assert one.next_due() is None


def test_an_end_before_this_shipper_is_not_judged_because_its_dump_may_have_been_anothers() -> None:
    one = made(since_s=T + 1)
    one.add(END, 0.0)
    assert one.next_due() is None


@pytest.mark.parametrize(
    ("begun_s", "ended_s", "has_dump"),
    [
        (T - 1, T, True),
        (T - 200, T - 1, True),  # a core that took long
        (T - 90, T - 60, False),  # a worker's, a minute before
        (T + 4, T + 5, True),
        (T + 60, T + 61, False),
    ],
)
def test_a_dump_of_the_same_container_counts_if_it_was_complete_near_the_end(
    begun_s: float, ended_s: float, has_dump: bool
) -> None:
    one = made()
    one.dumped(ID, begun_s, ended_s)
    one.add(END, 0.0)
    assert one.due(SETTLED, NONE) == ([] if has_dump else [END])


def test_a_dump_of_another_container_does_not_count() -> None:
    one = made()
    one.dumped("d" * 64, T, T)
    one.add(END, 0.0)
    assert one.due(SETTLED, NONE) == [END]


@pytest.mark.parametrize("capturing", [{ID}, {""}, {"d" * 64, ID}])
def test_an_end_waits_while_its_container_may_be_captured_and_a_moment_longer(
    capturing: set[str],
) -> None:
    one = made()
    one.add(END, 0.0)
    now = 0.0
    for _ in range(10):
        now += SETTLED
        assert one.due(now, capturing) == []
    assert one.due(now + SETTLED, NONE) == []  # committed, but not yet scanned
    one.dumped(ID, T, T + now)
    assert one.due(now + 2 * SETTLED, NONE) == []
    assert one.next_due() is None


def test_a_capture_that_never_ends_is_not_waited_for_for_ever() -> None:
    one = made()
    one.add(END, 0.0)
    assert one.due(SETTLED, {ID}) == []
    assert one.due(301 + SETTLED, {ID}) == [END]


def test_a_capture_of_another_container_holds_nothing_up() -> None:
    one = made()
    one.add(END, 0.0)
    assert one.due(SETTLED, {"d" * 64}) == [END]


def test_while_the_spool_cannot_be_read_nothing_is_claimed() -> None:
    one = made()
    one.add(END, 0.0)
    assert one.due(SETTLED, None) == []
    assert one.due(301 + SETTLED, None) == []
    assert one.next_due() is None


def test_more_ends_than_there_is_room_for_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pending, "WAITING_MAX", 2)
    one = made()
    ends = [dataclasses.replace(END, container_id=f"{number:064x}") for number in range(3)]
    assert [one.add(each, 0.0) for each in ends] == [True, True, False]
    assert one.due(SETTLED, NONE) == ends[:2]
    assert one.add(ends[2], SETTLED)
