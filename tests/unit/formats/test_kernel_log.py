"""A handler's line is read back as the outcome that it was written for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coredumpd.formats import kernel_log, names
from coredumpd.formats.kernel_log import NOT_STORED, REFUSED, SKIPPED, STORED, Outcome

PIDS = st.integers(1, 2**22)


@given(PIDS, st.text(max_size=2000), st.sampled_from([None, "maxSize", "quota"]))
def test_a_stored_crash_reads_back(pid: int, owner: str, truncated: str | None) -> None:
    id = names.make_id("app", 1764000000, pid, 7)
    line = kernel_log.line(kernel_log.stored(id, owner, 2**40, 2**30, truncated))
    assert kernel_log.parse(line) == Outcome(STORED, pid)


@given(PIDS, st.text(max_size=2000), st.text(max_size=2000))
def test_a_skipped_crash_reads_back(pid: int, comm: str, reason: str) -> None:
    line = kernel_log.line(kernel_log.skipped(pid, comm, reason))
    assert kernel_log.parse(line) == Outcome(SKIPPED, pid)


@given(PIDS, st.text(max_size=2000), st.text(max_size=2000))
def test_a_crash_that_nothing_proves_a_pods_reads_back(pid: int, comm: str, reason: str) -> None:
    line = kernel_log.line(kernel_log.unvouched(pid, comm, reason))
    assert kernel_log.parse(line) == Outcome(kernel_log.UNVOUCHED, pid)


@given(PIDS)
def test_the_guards_own_crash_reads_back(pid: int) -> None:
    line = kernel_log.line(kernel_log.tested(pid))
    assert kernel_log.parse(line) == Outcome(kernel_log.TESTED, pid)


@given(PIDS, st.text(max_size=2000))
def test_a_lost_crash_reads_back(pid: int, problem: str) -> None:
    line = kernel_log.line(kernel_log.not_stored(pid, problem))
    assert kernel_log.parse(line) == Outcome(NOT_STORED, pid)


@pytest.mark.parametrize(
    ("kind", "line"),
    [
        (SKIPPED, kernel_log.skipped(7, "a) (b", "why: so", "c" * 64)),
        (REFUSED, kernel_log.refused(7, "app", "ns/pod/app", "why: so", "c" * 64)),
        (NOT_STORED, kernel_log.not_stored(7, "why: so", "c" * 64)),
    ],
)
def test_a_loss_names_its_container_and_its_problem(kind: str, line: str) -> None:
    outcome = kernel_log.parse(kernel_log.line(line))
    assert outcome == Outcome(kind, 7)
    assert outcome is not None
    assert (outcome.container, outcome.problem) == ("c" * 64, "why: so")


def test_a_command_cannot_name_a_container_of_another() -> None:
    forged = f"x) of container {'d' * 64} (y"
    outcome = kernel_log.parse(kernel_log.line(kernel_log.skipped(7, forged, "why")))
    assert outcome is not None
    assert outcome.container is None


def test_a_crash_that_is_lost_before_its_process_is_known_reads_back() -> None:
    line = kernel_log.line(kernel_log.not_stored(None, "bad handler arguments: x"))
    assert kernel_log.parse(line) == Outcome(NOT_STORED, None)


def test_administrators_find_these_words() -> None:
    assert kernel_log.stored("i-1", "ns/pod/app", 9, 4, "maxSize") == (
        "stored i-1 of ns/pod/app: 9 -> 4 bytes, truncated: maxSize"
    )
    assert kernel_log.skipped(7, "app", "why") == "skipped crash of pid 7 (app): why"
    assert kernel_log.unvouched(7, "app", "why") == "unvouched crash of pid 7 (app): why"
    assert kernel_log.not_stored(7, "why") == "crash not stored: pid 7: why"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "coredumpd[9]: ",
        "coredumpd[x]: crash not stored: y",
        "coredumpd: crash not stored: y",
        "other[9]: crash not stored: y",
        " coredumpd[9]: crash not stored: y",
        "coredumpd[9]: capturing without Landlock: the kernel refuses",
        "coredumpd[9]: skipped crash of pid x (y): z",
        "coredumpd[9]: skipped crash of pid 12345678 (y): z",
        "coredumpd[9]: stored x",
        "coredumpd[9]: stored x y of z",
    ],
)
def test_a_line_that_tells_of_no_crash_is_passed_over(text: str) -> None:
    assert kernel_log.parse(text) is None


@given(st.text(max_size=2000))
def test_a_line_is_one_printable_line_and_bounded(message: str) -> None:
    line = kernel_log.line(message)
    assert line.isascii()
    assert line.isprintable()
    assert len(line) <= kernel_log.LINE_BYTES_MAX


@given(st.text())
def test_no_text_is_too_strange_to_parse(text: str) -> None:
    kernel_log.parse(text)
    kernel_log.parse(f"coredumpd[1]: {text}")
