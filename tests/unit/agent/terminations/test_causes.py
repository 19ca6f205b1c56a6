from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest

from coredumpd.agent.skipped import kernel_lines
from coredumpd.agent.terminations import causes, statuses
from coredumpd.agent.terminations.programs import GO, JAVA, RUST, Program
from coredumpd.formats import guard_status

RUNTIMES = Path(__file__).parents[4] / "docs" / "runtimes.md"
T = 1_790_000_000
NOTHING = Program()
GO_PANIC = Program(GO, is_reported=True)
GO_CRASH = Program(GO, is_reported=True, traceback="crash")


def end(code: int, program: Program = NOTHING, reason: str = "Error") -> statuses.Termination:
    names = ("default", "web", "1234-5678", "app", None, "c" * 64)
    return statuses.Termination(*names, code, reason, float(T), program)


def loss(reason: str, problem: str = "", time_s: int = T) -> guard_status.Loss:
    return guard_status.Loss("c" * 64, reason, problem, time_s)


def found(termination: statuses.Termination, **facts: Any) -> causes.Finding | None:
    return causes.decide(causes.Facts(termination, **facts))


@pytest.mark.parametrize(
    ("termination", "facts", "reason", "words"),
    [
        (end(137, reason="OOMKilled"), {}, "oom-killed", "out-of-memory killer ended it"),
        (end(1, reason="OOMKilled"), {}, "oom-killed", "never dumps core"),
        (
            end(139),
            {"loss": loss(kernel_lines.POLICY, "capture is disabled for its pod")},
            "policy",
            "(SIGSEGV): capture is disabled for its pod",
        ),
        (
            end(139),
            {"loss": loss(kernel_lines.POLICY, "it may dump nothing (RLIMIT_CORE)")},
            "policy",
            "it may dump nothing (RLIMIT_CORE)",
        ),
        (end(134), {"rule": "captures are disabled by X"}, "policy", "disabled by X"),
        (
            end(134),
            {"loss": loss(kernel_lines.POLICY, "disabled"), "rule": "by the annotation X"},
            "policy",
            "by the annotation X",
        ),
        (end(139), {"loss": loss("share", "its pod has its share")}, "share", "its share"),
        (end(139), {"loss": loss("pipe-limit")}, "pipe-limit", "agent.corePipeLimit"),
        (end(139), {"loss": loss("socket-queue")}, "socket-queue", "net.core.somaxconn"),
        (end(139), {"loss": loss("socket-dead")}, "socket-dead", "nobody listened"),
        (end(139), {"loss": loss("no-handler")}, "no-handler", "could not run the handler"),
        (
            end(139),
            {"loss": loss("failed", "No space left on device")},
            "failed",
            "its crash was not stored: No space left on device",
        ),
        (end(139), {"loss": loss("failed")}, "failed", "kernel log"),
        (end(139), {"loss": loss("not-dumped")}, "not-dumped", "may not be dumped"),
        (end(1), {"loss": loss("share", "its pod has its share")}, "share", "code 1: its pod"),
        (end(139), {"loss": loss("no word of ours", "x")}, "unknown", "x"),
        (end(139), {"problem": "core_pattern is not ours"}, "node", "core_pattern is not ours"),
        (end(2, GO_PANIC), {}, "gotraceback", "GOTRACEBACK=crash, and let another process"),
        (end(2, Program(GO, is_first=False)), {}, "gotraceback", "if it crashed; set the var"),
        (end(2, GO_CRASH), {}, "pid-1", "its SIGABRT cannot end PID 1"),
        (end(101, Program(RUST, is_reported=True)), {}, "panic-unwind", 'panic = "abort"'),
        (end(127, Program(JAVA, is_reported=True)), {}, "pid-1", "with this code: its SIGABRT"),
        (end(127, Program(JAVA)), {}, "pid-1", "so does a shell that finds no program"),
        (
            end(1, Program(JAVA, is_reported=True, forbids_core=True)),
            {},
            "jvm-option",
            "-XX:-CreateCoredumpOnCrash; leave it out",
        ),
        (end(139), {}, "unknown", "the cause is not known. Usual causes are"),
        (end(159), {}, "unknown", "exit code 159 (SIGSYS)"),
    ],
)
def test_each_cause_that_the_facts_show_is_named(
    termination: statuses.Termination, facts: dict[str, Any], reason: str, words: str
) -> None:
    finding = found(termination, **facts)
    assert finding is not None
    assert finding.reason == reason
    assert finding.sentence.startswith("no core was stored of container app, which ended with")
    assert words in finding.sentence
    assert finding.sentence.isascii()
    assert len(finding.sentence) <= 700


@pytest.mark.parametrize("code", [131, 132, 133, 134, 135, 136, 139, 152, 153, 159])
def test_every_signal_that_dumps_is_a_crash_whatever_the_program(code: int) -> None:
    assert causes.is_candidate(end(code))


@pytest.mark.parametrize(
    "termination",
    [
        end(0),
        end(1),
        end(2),
        end(3),
        end(101),
        end(127),
        end(128),
        end(130),  # SIGINT
        end(137),  # the kubelet's SIGKILL
        end(143),
        end(255),
        end(2, Program(RUST)),
        end(1, Program(GO)),
        end(2, dataclasses.replace(GO_CRASH, is_first=False)),
        end(127, Program(JAVA, is_first=False)),
        end(127, Program(JAVA), "ContainerCannotRun"),
        end(1, Program(JAVA)),
    ],
    ids=str,
)
def test_an_end_that_nothing_shows_to_be_a_crash_has_no_cause(
    termination: statuses.Termination,
) -> None:
    assert found(termination, rule="captures are disabled", problem="unwell") is None


def test_a_loss_long_before_the_end_was_another_crash() -> None:
    early = T - int(causes.LOSS_WINDOW_S) - 1
    assert found(end(1), loss=loss("share", "x", early)) is None
    finding = found(end(139), loss=loss("share", "x", early))
    assert finding is not None
    assert finding.reason == "unknown"


def test_only_a_pid_1_hears_that_it_ignores_its_own_signals() -> None:
    first, other = found(end(139)), found(end(139, Program(is_first=False)))
    assert first is not None
    assert other is not None
    assert "as PID 1 it ignores signals of its own" in first.sentence
    assert "PID 1" not in other.sentence


def test_a_container_that_ends_well_after_a_worker_crashed_is_no_crash() -> None:
    assert found(end(0), loss=loss("share", "its pod has its share")) is None


def rows() -> list[tuple[str, str, str, str]]:
    """Of the table that tests/runtimes runs: crash, both outcomes, the reason without a core."""
    cells = re.findall(
        r"^\| (\S+: .+?) \| (.+?) \| (.+?) \| .*?\|(.*)\|$", RUNTIMES.read_text(), re.M
    )
    return [
        (crash, ordinary, first, reason.strip(" `")) for crash, ordinary, first, reason in cells
    ]


@pytest.mark.parametrize(("crash", "ordinary", "first", "reason"), rows(), ids=lambda cell: cell)
def test_the_table_of_runtimes_names_the_reason_that_an_event_has_for_each_code(
    crash: str, ordinary: str, first: str, reason: str
) -> None:
    runtime = {"Go": GO, "Rust": RUST, "Java": JAVA}.get(crash.partition(":")[0])
    traceback = "crash" if "GOTRACEBACK=crash" in crash else None
    found_ = set()
    for outcome, is_first in ((ordinary, False), (first, True)):
        if outcome.startswith("code "):
            program = Program(runtime, runtime is not None, is_first, traceback)
            finding = found(end(int(outcome.removeprefix("code ")), program))
            found_.add("" if finding is None else finding.reason)
    assert found_ <= {reason}
    assert bool(found_) == ("code" in ordinary + first)


def test_each_reason_is_explained_in_the_documents() -> None:
    text = RUNTIMES.read_text()
    for reason in causes.REASONS:
        assert f"| `{reason}` |" in text, reason
