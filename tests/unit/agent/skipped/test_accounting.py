"""What the watcher does with the two sources; the kernel's own are in tests/integration/agent."""

from __future__ import annotations

import os
import time
from typing import Any

import pytest

from coredumpd.agent import tally
from coredumpd.agent.skipped import accounting, kernel_lines, ledger
from coredumpd.agent.skipped.connector import Event


class Quiet:
    """Events that nobody reports."""

    async def node(self, reason: str, message: str) -> None:
        pass


class FakeSpool:
    def pids(self) -> set[int]:
        return {8}


class FakeConnector:
    """Tells of `events` once."""

    def __init__(self, events: list[Event], lost: bool = False) -> None:
        self._events = events
        self._lost = lost

    def read(self) -> tuple[list[Event], bool]:
        return self._events, self._lost


def made() -> Any:
    return accounting.Accountant(tally.Tally(), Quiet(), FakeSpool())  # type: ignore[arg-type]


def heard(told: list[Event], lost: bool = False) -> ledger.Ledger:
    book = ledger.Ledger()
    made()._receive(FakeConnector(told, lost), book)
    return book


def test_a_crash_whose_capture_lies_in_the_spool_waits_for_no_word() -> None:
    told = [Event(ended, pid, pid, False) for ended in (False, True) for pid in (7, 8)]
    assert heard(told).ended == [7]


def test_a_handlers_words_about_a_container_are_a_loss_of_that_container(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    watcher = made()
    handler = kernel_lines.HANDLER
    lines = [
        kernel_lines.Notice(kernel_lines.POLICY, handler, 1, 7, "c" * 64, "capture is disabled"),
        kernel_lines.Notice(kernel_lines.STORED, handler, 1, 8, "d" * 64),
        kernel_lines.Notice(kernel_lines.POLICY, handler, 1, 9, None, "in no pod"),
    ]
    monkeypatch.setattr(kernel_lines, "read", lambda _: lines)
    watcher._read(-1)
    (loss,) = watcher._tally.losses.latest()
    assert (loss.container, loss.reason) == ("c" * 64, "policy")
    assert loss.problem == "capture is disabled"


def test_a_crash_that_nobody_reports_is_a_loss_of_the_container_in_which_it_began(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    watcher, book = made(), ledger.Ledger()
    monkeypatch.setattr(ledger, "GRACE_S", 0.0)
    monkeypatch.setattr(watcher, "_container_of", lambda pid, tid: f"{pid:064x}")
    watcher._receive(FakeConnector([Event(False, 7, 7, False), Event(True, 7, 7, False)]), book)
    (loss,) = watcher._tally.losses.latest()
    assert (loss.container, loss.reason) == (f"{7:064x}", kernel_lines.NOT_DUMPED)


def test_a_process_in_no_container_or_gone_has_none() -> None:
    assert made()._container_of(os.getpid(), os.getpid()) is None
    assert made()._container_of(2**22 + 1, 2**22 + 1) is None


def test_when_events_were_lost_processes_that_are_gone_have_ended(
    caplog: pytest.LogCaptureFixture,
) -> None:
    gone = 2**22 + 1  # above PID_MAX_LIMIT
    begun = [Event(False, pid, pid, False) for pid in (gone, os.getpid())]
    book = heard(begun, lost=True)
    assert (book.ended, book.open) == ([gone], [os.getpid()])
    assert "events of the kernel's connector were lost" in caplog.text
    now = time.monotonic()
    book.read_line(kernel_lines.Notice(kernel_lines.POLICY, kernel_lines.HANDLER, pid=9), now)
    assert kernel_lines.POLICY in book.settle(now + ledger.UNCLAIMED_S)


def test_a_crash_that_is_told_after_its_handlers_words_counts_by_them() -> None:
    watcher, book = made(), ledger.Ledger()
    book.read_line(
        kernel_lines.Notice(kernel_lines.FAILED, kernel_lines.HANDLER, pid=7), time.monotonic()
    )
    assert watcher._unreported == {}
    watcher._receive(FakeConnector([Event(False, 7, 7, False)]), book)
    assert watcher._unreported == {kernel_lines.FAILED: 1}


def test_without_a_connector_every_line_of_the_log_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    watcher = made()
    lines = [
        kernel_lines.Notice(kernel_lines.PIPE_LIMIT, kernel_lines.KERNEL),
        kernel_lines.Notice(kernel_lines.PIPE_LIMIT, kernel_lines.KEPT_BACK, 14),
        kernel_lines.Notice(kernel_lines.STORED, kernel_lines.HANDLER, pid=7),
        kernel_lines.Notice(kernel_lines.LOST_LINES, kernel_lines.KERNEL, 0),
    ]
    monkeypatch.setattr(kernel_lines, "read", lambda kmsg: lines)
    watcher._read(-1)
    assert watcher._unreported == {kernel_lines.PIPE_LIMIT: 15}


NO_HANDLER = kernel_lines.Notice(kernel_lines.NO_HANDLER, kernel_lines.KERNEL)
FAILED = kernel_lines.Notice(kernel_lines.FAILED, kernel_lines.HANDLER, pid=7)
KEPT_BACK = kernel_lines.Notice(kernel_lines.PIPE_LIMIT, kernel_lines.KEPT_BACK, 3)


@pytest.mark.parametrize("line", [NO_HANDLER, FAILED])
def test_by_the_log_alone_one_line_about_the_guards_own_crash_is_not_counted(
    monkeypatch: pytest.MonkeyPatch, line: kernel_lines.Notice
) -> None:
    watcher = made()
    watcher.expect(7)
    lines = [line]
    monkeypatch.setattr(kernel_lines, "read", lambda _: lines)
    watcher._read(-1)
    assert watcher._unreported == {}
    watcher._read(-1)  # a tenant's
    assert watcher._unreported == {line.reason: 1}


def test_by_the_log_alone_others_lines_count_while_the_guards_own_crash_is_expected(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    watcher = made()
    watcher.expect(8)
    lines = [FAILED, KEPT_BACK]
    monkeypatch.setattr(kernel_lines, "read", lambda _: lines)
    watcher._read(-1)
    assert watcher._unreported == {kernel_lines.FAILED: 1, kernel_lines.PIPE_LIMIT: 3}
    watcher.expect(None)
    lines[:] = [NO_HANDLER]
    watcher._read(-1)
    assert watcher._unreported[kernel_lines.NO_HANDLER] == 1
