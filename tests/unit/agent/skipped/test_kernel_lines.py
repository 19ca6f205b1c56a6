"""Which lines of the kernel's log tell of a crash, and what."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coredumpd.agent.skipped import kernel_lines
from coredumpd.agent.skipped.kernel_lines import HANDLER, KEPT_BACK, KERNEL, Notice


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        (
            b"4,1,2,-;coredump: 7(a b): over core_pipe_limit, skipping core dump\n",
            Notice("pipe-limit", KERNEL),
        ),
        (b"4,1,2,-;Pid 7(web) over core_pipe_limit\n", Notice("pipe-limit", KERNEL)),
        (b"4,1,2,-;coredump_pipe: 49 callbacks suppressed\n", Notice("pipe-limit", KEPT_BACK, 49)),
        (
            b"4,1,2,-;coredump_sock_connect: 3 callbacks suppressed\n",
            Notice("socket-dead", KEPT_BACK, 3),
        ),
        (
            b"4,1,2,-;coredump: 7(web): Coredump socket connection /x/capture.sock failed -111\n",
            Notice("socket-dead", KERNEL),
        ),
        (
            b"4,1,2,-;coredump: 7(web): Coredump socket /x/capture.sock receive queue full\n",
            Notice("socket-queue", KERNEL),
        ),
        (
            b"4,1,2,-;coredump: 7(web): |/x/coredumpd pipe failed\n",
            Notice("no-handler", KERNEL),
        ),
        (
            b"11,1,2,-;coredumpd[9]: crash not stored: bad handler arguments: x\n",
            Notice("failed", HANDLER, problem="bad handler arguments: x"),
        ),
        (
            b"11,1,2,-;coredumpd[9]: crash not stored: pid 7: process 7 is gone\n",
            Notice("failed", HANDLER, pid=7, problem="process 7 is gone"),
        ),
        (
            b"14,1,2,-;coredumpd[9]: skipped crash of pid 7 (x): in no pod\n",
            Notice("policy", HANDLER, pid=7, problem="in no pod"),
        ),
        (
            b"12,1,2,-;coredumpd[9]: refused crash of pid 7 of container "
            + b"c" * 64
            + b" (x) of n/p/c: its pod has its share\n",
            Notice("share", HANDLER, 1, 7, "c" * 64, "its pod has its share"),
        ),
        (
            b"14,1,2,-;coredumpd[9]: stored a-b-20261124t201244z-7-beef of n/p/c: 1 -> 1 bytes\n",
            Notice("stored", HANDLER, pid=7),
        ),
        (b"14,1,2,-;coredumpd[9]: stored x of y\n", Notice("stored", HANDLER)),
        (b"6,1,2,-;web[7]: segfault at 0 ip 0 sp 0 error 6\n SUBSYSTEM=x\n", None),
    ],
)
def test_a_line_tells_what_became_of_a_crash(entry: bytes, expected: Notice | None) -> None:
    assert kernel_lines.parse(entry) == expected


def test_a_process_cannot_speak_for_the_kernel_nor_the_kernel_for_a_handler() -> None:
    forged = b"12,1,2,-;coredump: 7(x): over core_pipe_limit, skipping core dump\n"
    assert kernel_lines.parse(forged) is None
    comm = b"4,1,2,-;coredump: 7(coredumpd[9]: crash not stored: ): something else\n"
    assert kernel_lines.parse(comm) is None


@given(st.binary(max_size=200))
def test_no_line_is_too_strange(entry: bytes) -> None:
    kernel_lines.parse(entry)
    kernel_lines.parse(b"4,1,2,-;" + entry)


def test_reading_is_bounded_and_ends_with_what_is_there() -> None:
    ours, theirs = os.pipe()
    os.set_blocking(ours, False)
    os.write(theirs, b"14,1,2,-;coredumpd[9]: skipped crash of pid 7 (x): in no pod\n")
    assert kernel_lines.read(ours) == [Notice("policy", HANDLER, pid=7, problem="in no pod")]
    assert kernel_lines.read(ours) == []
    os.close(ours)
    os.close(theirs)


def test_every_reason_but_policy_comes_with_advice() -> None:
    reasons = {reason for _, reason in kernel_lines._KERNEL}
    reasons |= {*kernel_lines._HANDLER.values(), kernel_lines.NOT_DUMPED, kernel_lines.SILENT}
    reasons -= {*kernel_lines.NO_LOSS}
    assert reasons - set(kernel_lines.ADVICE) == {kernel_lines.POLICY}
