from __future__ import annotations

import sys
from pathlib import Path

import pytest

from coredumpd.agent.selftest import causes, diagnosis, facts, log_lines, probe

BASE = diagnosis.Facts("/var/lib/coredumpd", "pipe")


@pytest.mark.parametrize(
    ("line", "kernel"),
    [
        ("coredump: 7(a): b): over core_pipe_limit, skipping core dump", "over core_pipe_limit"),
        ("Pid 7(app) over core_pipe_limit", "over core_pipe_limit"),
        ("coredump: 7(app): |/x/coredumpd pipe failed", "|/x/coredumpd pipe failed"),
    ],
)
def test_the_kernels_line_counts_without_the_process(line: str, kernel: str) -> None:
    known = facts.of_result(BASE, probe.Result(None, False, log_lines.Lines(None, line)))
    assert known.kernel.startswith(kernel)
    cause = causes.BUSY if "limit" in line else causes.UNKNOWN
    assert diagnosis.cause_of(known) is cause


def launcher(tmp_path: Path, text: str) -> str:
    path = tmp_path / "launcher"
    path.write_text(text)
    path.chmod(0o700)
    return str(path)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (f"#!{sys.executable} -I\n", ""),
        ("#!/bin/sh\necho first >&2; echo last >&2; exit 3\n", "it ended with exit code 3: last"),
        ("#!/bin/sh\nexit 3\n", "it ended with exit code 3: it said nothing"),
        ("#!/bin/sh\nkill -SYS $$\n", "SIGSYS ended it; it said nothing"),
        (
            "#!/nowhere/loader -x\n",
            "No such file or directory: its loader /nowhere/loader is missing",
        ),
        ("garbage", "Exec format error"),
    ],
)
def test_a_launcher_that_does_not_start_is_quoted(tmp_path: Path, text: str, problem: str) -> None:
    assert facts.start_problem(launcher(tmp_path, text)) == problem


def test_a_launcher_that_hangs_or_is_missing_is_told_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert facts.start_problem(str(tmp_path / "missing")) == "No such file or directory"
    monkeypatch.setattr(facts, "START_S", 0.2)
    hanging = launcher(tmp_path, "#!/bin/sh\nexec sleep 60\n")
    assert facts.start_problem(hanging) == "it did not end within 0.2 s"
