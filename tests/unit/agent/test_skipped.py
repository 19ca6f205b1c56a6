"""Which lines of the kernel's log tell of a crash without a dump."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coredumpd.agent import skipped


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        (
            b"4,1,2,-;coredump: 7(a b): over core_pipe_limit, skipping core dump\n",
            ("pipe-limit", 1),
        ),
        (b"4,1,2,-;Pid 7(web) over core_pipe_limit\n", ("pipe-limit", 1)),
        (b"4,1,2,-;coredump_pipe: 49 callbacks suppressed\n", ("pipe-limit", 49)),
        (b"4,1,2,-;coredump_sock_connect: 3 callbacks suppressed\n", ("socket-dead", 3)),
        (
            b"4,1,2,-;coredump: 7(web): Coredump socket connection /x/capture.sock failed -111\n",
            ("socket-dead", 1),
        ),
        (
            b"4,1,2,-;coredump: 7(web): Coredump socket /x/capture.sock receive queue full\n",
            ("socket-queue", 1),
        ),
        (b"4,1,2,-;coredump: 7(web): |/x/coredumpd pipe failed\n", ("no-handler", 1)),
        (b"11,1,2,-;coredumpd[9]: crash not stored: process 7 is gone\n", ("failed", 1)),
        (b"14,1,2,-;coredumpd[9]: skipped crash of pid 7 (x): in no pod\n", ("policy", 1)),
        (b"14,1,2,-;coredumpd[9]: stored x of y\n", None),
        (b"6,1,2,-;web[7]: segfault at 0 ip 0 sp 0 error 6\n SUBSYSTEM=x\n", None),
    ],
)
def test_a_line_is_counted_for_what_it_tells(
    entry: bytes, expected: tuple[str, int] | None
) -> None:
    assert skipped.judge(entry) == expected


def test_a_process_cannot_speak_for_the_kernel_nor_the_kernel_for_a_handler() -> None:
    forged = b"12,1,2,-;coredump: 7(x): over core_pipe_limit, skipping core dump\n"
    assert skipped.judge(forged) is None
    comm = b"4,1,2,-;coredump: 7(coredumpd[9]: crash not stored: ): something else\n"
    assert skipped.judge(comm) is None


@given(st.binary(max_size=200))
def test_no_line_is_too_strange(entry: bytes) -> None:
    skipped.judge(entry)
    skipped.judge(b"4,1,2,-;" + entry)


def test_reading_is_bounded_and_ends_with_what_is_there() -> None:
    ours, theirs = os.pipe()
    os.set_blocking(ours, False)
    os.write(theirs, b"14,1,2,-;coredumpd[9]: skipped crash of pid 7 (x): in no pod\n")
    assert skipped.read(ours) == [("policy", 1)]
    assert skipped.read(ours) == []
    os.close(ours)
    os.close(theirs)


def test_every_reason_but_policy_comes_with_advice() -> None:
    reasons = {reason for _, reason in (*skipped._KERNEL, *skipped._OURS)}
    assert reasons - set(skipped.ADVICE) == {skipped.POLICY}
