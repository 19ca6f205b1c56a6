"""What the ledger makes of the connector's events and the kernel log's lines, in any order."""

from __future__ import annotations

import collections
import dataclasses
import functools
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coredumpd.agent.skipped import kernel_lines, ledger
from coredumpd.agent.skipped.kernel_lines import HANDLER, KEPT_BACK, KERNEL, Notice

LATER = ledger.GRACE_S + 0.1
PATIENCE = ledger.UNCLAIMED_S + ledger.GRACE_S + 1
OVER_LIMIT = Notice(kernel_lines.PIPE_LIMIT, KERNEL)


def crashed(book: ledger.Ledger, pid: int, now: float = 0.0, dumped: bool = False) -> None:
    book.begun(pid, pid, now)
    book.gone(pid, pid, dumped, now)


def test_a_crash_that_a_handler_named_is_not_skipped_unless_the_handler_said_so() -> None:
    book = ledger.Ledger()
    for pid, reason in (
        (1, kernel_lines.STORED),
        (2, kernel_lines.POLICY),
        (3, kernel_lines.FAILED),
    ):
        crashed(book, pid)
        expected = None if reason == kernel_lines.STORED else reason
        assert book.read_line(Notice(reason, HANDLER, pid=pid), 0.1) == expected
    assert book.settle(LATER) == []
    assert not book.busy


def test_a_crash_over_the_limit_counts_once_however_often_it_is_told() -> None:
    book = ledger.Ledger()
    crashed(book, 1)
    assert book.read_line(OVER_LIMIT, 0.1) is None
    assert book.read_line(Notice(kernel_lines.PIPE_LIMIT, KEPT_BACK, 14), 0.1) is None
    assert book.settle(LATER) == [kernel_lines.PIPE_LIMIT]
    assert book.settle(PATIENCE) == []
    assert not book.busy


def test_lines_that_the_kernel_keeps_back_are_made_up_for() -> None:
    book = ledger.Ledger()
    for pid in range(50):
        crashed(book, pid, pid / 50)
        if pid < ledger.RATELIMIT_LINES:
            book.read_line(OVER_LIMIT, pid / 50)
    assert book.settle(1 + LATER) == [kernel_lines.PIPE_LIMIT] * 50


def test_a_crash_without_any_word_is_not_dumped_when_no_lines_are_kept_back() -> None:
    book = ledger.Ledger()
    for _ in range(ledger.RATELIMIT_LINES):
        book.read_line(OVER_LIMIT, 0.0)
    book.settle(PATIENCE)
    crashed(book, 1, PATIENCE)
    assert book.settle(PATIENCE + LATER) == [kernel_lines.NOT_DUMPED]


def test_a_core_that_was_taken_and_never_heard_of_again_has_failed() -> None:
    book = ledger.Ledger()
    crashed(book, 1, dumped=True)
    assert book.settle(LATER) == [kernel_lines.SILENT]


@pytest.mark.parametrize("dumped", [True, False], ids=["stream", "memory"])
def test_a_core_that_was_taken_while_lines_were_lost_is_believed_to_be_stored(dumped: bool) -> None:
    book = ledger.Ledger()
    crashed(book, 1, dumped=dumped)
    book.read_line(Notice(kernel_lines.LOST_LINES, KERNEL, 0), 0.1)
    crashed(book, 2, dumped=False)
    assert book.settle(LATER) == [kernel_lines.NOT_DUMPED]


def test_nothing_is_judged_before_its_process_is_gone_and_the_grace_is_over() -> None:
    book = ledger.Ledger()
    book.begun(1, 2, 0.0)
    assert book.settle(1000.0) == []
    assert book.open == [1]
    book.gone(1, 7, False, 1000.0)  # another thread
    assert book.open == [1]
    book.gone(1, 2, False, 1000.0)
    assert book.ended == [1]
    assert book.settle(1000.0 + ledger.GRACE_S / 2) == []
    assert book.settle(1000.0 + LATER) == [kernel_lines.NOT_DUMPED]


def test_what_lies_in_the_spool_is_kept() -> None:
    book = ledger.Ledger()
    crashed(book, 1)
    book.kept(1)
    assert book.settle(LATER) == []


def test_two_threads_that_crash_at_once_are_one_crash() -> None:
    book = ledger.Ledger()
    book.begun(1, 1, 0.0)
    book.begun(1, 2, 0.0)
    book.gone(1, 1, False, 0.0)
    book.begun(1, 3, 0.0)
    book.gone(1, 2, False, 0.0)
    assert book.settle(LATER) == [kernel_lines.NOT_DUMPED]


def test_a_containers_crash_that_no_line_names_is_a_loss_of_that_container() -> None:
    book = ledger.Ledger()
    for pid, container in ((1, "c" * 64), (2, None), (3, "d" * 64)):
        book.begun(pid, pid, 0.0, container)
        book.gone(pid, pid, False, 0.0)
    book.read_line(Notice(kernel_lines.POLICY, HANDLER, pid=3), 0.1)
    book.settle(LATER)
    assert list(book.losses) == [("c" * 64, kernel_lines.NOT_DUMPED)]


def test_a_line_of_a_crash_that_the_connector_did_not_tell_counts_by_itself() -> None:
    book = ledger.Ledger()
    book.read_line(OVER_LIMIT, 0.0)
    assert book.settle(LATER) == []
    assert book.settle(PATIENCE) == [kernel_lines.PIPE_LIMIT]


@pytest.mark.parametrize("reason", [kernel_lines.STORED, kernel_lines.POLICY, kernel_lines.FAILED])
def test_a_handler_that_is_run_by_hand_without_a_crash_counts_for_nothing(reason: str) -> None:
    book = ledger.Ledger()
    crashed(book, 1)
    assert book.read_line(Notice(reason, HANDLER, pid=2), 0.1) is None
    assert book.settle(LATER) == [kernel_lines.NOT_DUMPED]
    assert book.settle(PATIENCE) == []
    assert not book.busy


@pytest.mark.parametrize("reason", [kernel_lines.STORED, kernel_lines.POLICY, kernel_lines.FAILED])
def test_a_handler_whose_words_overtake_the_connector_counts_with_the_crash(reason: str) -> None:
    book = ledger.Ledger()
    assert book.read_line(Notice(reason, HANDLER, pid=1), 0.0) is None
    assert book.begun(1, 1, 0.1) == (None if reason == kernel_lines.STORED else reason)
    book.gone(1, 1, True, 0.1)
    assert book.settle(PATIENCE) == []
    assert not book.busy


def test_when_the_connector_has_lost_events_a_handler_is_believed_without() -> None:
    book = ledger.Ledger()
    for pid, reason in ((1, kernel_lines.STORED), (2, kernel_lines.FAILED)):
        book.read_line(Notice(reason, HANDLER, pid=pid), 0.0)
    book.lost(0.1)
    book.read_line(Notice(kernel_lines.POLICY, HANDLER, pid=3), 0.2)
    assert book.settle(PATIENCE) == [kernel_lines.FAILED, kernel_lines.POLICY]
    assert not book.busy


def test_a_handler_that_cannot_say_whose_crash_failed_counts_it_once() -> None:
    book = ledger.Ledger()
    crashed(book, 1)
    assert book.read_line(Notice(kernel_lines.FAILED, HANDLER), 0.1) == kernel_lines.FAILED
    assert book.settle(LATER) == []
    assert book.settle(PATIENCE) == []


def test_a_pid_can_crash_again() -> None:
    book = ledger.Ledger()
    crashed(book, 1)
    assert book.settle(LATER) == [kernel_lines.NOT_DUMPED]
    crashed(book, 1, LATER)
    assert book.settle(LATER + LATER) == [kernel_lines.NOT_DUMPED]


@dataclasses.dataclass(frozen=True)
class Crash:
    """What really happens: `fate` is a reason, or STORED. It ends after it began, and the connector
    says so in this order."""

    pid: int
    fate: str
    at_s: float
    lasts_s: float


FATES = (
    kernel_lines.STORED,
    kernel_lines.POLICY,
    kernel_lines.FAILED,
    kernel_lines.PIPE_LIMIT,
    kernel_lines.NOT_DUMPED,
)
storms = st.lists(
    st.tuples(st.sampled_from(FATES), st.floats(0, 20), st.floats(0.001, 9)), max_size=60
).map(lambda rows: [Crash(pid, *row) for pid, row in enumerate(rows, start=1)])


@given(storms, st.floats(0, 0.9), st.floats(0, 0.9))
def test_of_any_storm_every_crash_is_accounted_for(
    storm: list[Crash], connector_lag_s: float, log_lag_s: float
) -> None:
    """The kernel prints 10 lines in a burst and is silent for the rest of its 5 seconds."""
    book = ledger.Ledger()
    events: list[tuple[float, Callable[[float], str | None]]] = []
    for crash in storm:
        begun_s, end_s = crash.at_s + connector_lag_s, crash.at_s + crash.lasts_s
        # Of a core that was read from memory, the kernel does not say that it was consumed.
        dumped = crash.fate == kernel_lines.STORED and crash.pid % 2 == 0
        begun = functools.partial(book.begun, crash.pid, crash.pid)
        gone = functools.partial(book.gone, crash.pid, crash.pid, dumped)
        events += [(begun_s, begun), (end_s + connector_lag_s, gone)]
        if crash.fate in (kernel_lines.STORED, kernel_lines.POLICY, kernel_lines.FAILED):
            said = Notice(crash.fate, HANDLER, pid=crash.pid)
            events.append((end_s + log_lag_s, functools.partial(book.read_line, said)))
    for at_s in printed(sorted(c.at_s for c in storm if c.fate == kernel_lines.PIPE_LIMIT)):
        events.append((at_s + log_lag_s, functools.partial(book.read_line, OVER_LIMIT)))
    counted: collections.Counter[str] = collections.Counter()
    now = 0.0
    for now, event in sorted(events, key=lambda event: event[0]):
        counted.update(book.settle(now))
        told = event(now)
        counted.update([told] if told else [])
    counted.update(book.settle(now + LATER))
    counted.update(book.settle(now + PATIENCE))
    assert not book.busy
    kept = sum(crash.fate == kernel_lines.STORED for crash in storm)
    assert counted.total() + kept == len(storm)
    for reason in (kernel_lines.POLICY, kernel_lines.FAILED):
        assert counted[reason] == sum(crash.fate == reason for crash in storm)


def printed(times: list[float]) -> list[float]:
    """Those of the lines of `times` that the kernel's rate limit lets through."""
    found: list[float] = []
    begun, left = float("-inf"), 0
    for now in times:
        if now - begun > ledger.RATELIMIT_S:
            begun, left = now, ledger.RATELIMIT_LINES
        if left:
            left -= 1
            found.append(now)
    return found


EXPECTED = (
    (False, None),
    (False, Notice(kernel_lines.NO_HANDLER, KERNEL)),
    (True, None),
    (True, Notice(kernel_lines.TESTED, HANDLER, pid=1)),
    (True, Notice(kernel_lines.FAILED, HANDLER, pid=1)),
)


@pytest.mark.parametrize("early", [True, False])
@pytest.mark.parametrize(("dumped", "line"), EXPECTED)
def test_the_guards_own_crash_counts_for_nothing_however_it_ends(
    dumped: bool, line: Notice | None, early: bool
) -> None:
    book = ledger.Ledger()
    book.expect(1, 0.0)
    answers = [book.read_line(line, 0.0) if line is not None and early else None]
    crashed(book, 1, 0.1, dumped)
    answers.append(book.read_line(line, 0.2) if line is not None and not early else None)
    assert answers == [None, None]
    assert book.settle(0.1 + LATER) == []
    assert book.settle(PATIENCE) == []
    crashed(book, 1, PATIENCE)  # the pid is another's by now
    assert book.settle(PATIENCE + LATER) == [kernel_lines.NOT_DUMPED]
    assert not book.busy


def test_a_pid_that_never_crashed_is_not_expected_for_ever() -> None:
    book = ledger.Ledger()
    book.expect(1, 0.0)
    book.settle(ledger.UNCLAIMED_S_MAX)
    crashed(book, 1, 1000.0)
    assert book.settle(1000.0 + LATER) == [kernel_lines.NOT_DUMPED]


@pytest.mark.parametrize("count", [1, ledger.RATELIMIT_LINES, 14, 240])
def test_of_a_burst_over_the_limit_all_are_said_to_be_over_the_limit(count: int) -> None:
    book = ledger.Ledger()
    times = [number / 240 for number in range(count)]
    for pid, now in enumerate(times):
        crashed(book, pid, now)
    for now in printed(times):
        book.read_line(OVER_LIMIT, now)
    assert book.settle(1 + LATER) == [kernel_lines.PIPE_LIMIT] * count
