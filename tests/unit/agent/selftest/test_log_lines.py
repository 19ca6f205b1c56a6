from __future__ import annotations

import pytest

from coredumpd.agent.selftest import log_lines
from coredumpd.agent.selftest.log_lines import Lines
from coredumpd.formats import kernel_log


def record(priority: int, text: str) -> bytes:
    return f"{priority},1,2,-;{text}\n SUBSYSTEM=x\n".encode()


@pytest.mark.parametrize(
    ("data", "lines"),
    [
        (
            record(6, "coredump: 7(app): |/x/coredumpd pipe failed"),
            Lines(None, "coredump: 7(app): |/x/coredumpd pipe failed"),
        ),
        (
            record(4, "Pid 7(app) over core_pipe_limit"),
            Lines(None, "Pid 7(app) over core_pipe_limit"),
        ),
        (record(11, "coredumpd[9]: crash not stored: pid 7: it: rains"), Lines("it: rains", None)),
        (record(6, "coredump: 77(app): pipe failed"), Lines()),
        (record(14, "coredump: 7(app): forged by a process"), Lines()),
        (record(11, "coredumpd[9]: crash not stored: pid 8: x"), Lines()),
        (record(11, "coredumpd[9]: crash not stored: bad arguments"), Lines()),
        (record(14, "coredumpd[9]: self-test by pid 7: captured"), Lines()),
        (b"garbage", Lines()),
        (b"", Lines()),
    ],
    ids=str,
)
def test_only_lines_about_the_process_count_and_the_kernels_only_from_the_kernel(
    data: bytes, lines: Lines
) -> None:
    assert log_lines.parse(data, 7, Lines()) == lines


def test_without_a_log_there_are_no_lines() -> None:
    log = log_lines.Log("/nowhere/kmsg")
    assert log.about(7) == Lines()
    log.close()


def test_a_handlers_line_is_what_the_diagnosis_reads() -> None:
    line = kernel_log.line(kernel_log.not_stored(7, "no space"))
    assert log_lines.parse(record(11, line), 7, Lines()).problem == "no space"
