from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from coredumpd.agent.terminations import programs
from coredumpd.agent.terminations.programs import GO, JAVA, RUST

GO_REPORT = "panic: runtime error: x\n[signal SIGSEGV: y]\n\ngoroutine 1 [running]:\nmain.main()\n"
RUST_REPORT = "thread 'main' panicked at src/main.rs:2:5:\nno\n"
JVM_REPORT = "#\n# A fatal error has been detected by the Java Runtime Environment:\n#\n"


def variables(**values: str) -> dict[str, Any]:
    return {"env": [{"name": name, "value": value} for name, value in values.items()]}


@pytest.mark.parametrize(
    ("container", "message", "runtime", "is_reported"),
    [
        ({}, "", None, False),
        ({}, GO_REPORT, GO, True),
        ({}, "goroutine 1 gp=0xc000002380 m=0 mp=0x5 [running]:\n", GO, True),
        ({}, RUST_REPORT, RUST, True),
        ({}, "thread 'main' (7) panicked at a.rs:1:1:\n", RUST, True),
        ({}, JVM_REPORT, JAVA, True),
        ({}, "I said: panic, goroutine, Java Runtime Environment", None, False),
        ({"command": ["/usr/bin/java", "-jar", "x"]}, "", JAVA, False),
        ({"command": ["sh", "-c", "java -jar x"]}, "", None, False),
        (variables(GOMAXPROCS="2"), "", GO, False),
        (variables(RUST_BACKTRACE="1"), "", RUST, False),
        (variables(JAVA_OPTS=""), "", JAVA, False),
        (variables(JAVA_OPTS="", GOGC="1"), "", None, False),
        (variables(JAVA_OPTS=""), GO_REPORT, GO, True),
        (variables(NODE_NAME="n"), "", None, False),
    ],
)
def test_a_runtime_is_known_by_its_report_else_its_program_else_a_variable_only_it_reads(
    container: dict[str, Any], message: str, runtime: str | None, is_reported: bool
) -> None:
    program = programs.of_container({}, container, message)
    assert (program.runtime, program.is_reported) == (runtime, is_reported)


@pytest.mark.parametrize(
    ("spec", "container", "is_first"),
    [
        ({}, {}, True),
        ({"shareProcessNamespace": True}, {}, False),
        ({"hostPID": True}, {}, False),
        ({}, {"targetContainerName": "app"}, False),
    ],
)
def test_a_containers_program_is_pid_1_unless_the_pod_says_otherwise(
    spec: dict[str, Any], container: dict[str, Any], is_first: bool
) -> None:
    assert programs.of_container(spec, container, "").is_first is is_first


def test_the_settings_that_decide_over_a_core_are_read() -> None:
    own = variables(GOTRACEBACK="crash") | {"args": ["-XX:-CreateCoredumpOnCrash"]}
    program = programs.of_container({}, own, "")
    assert (program.traceback, program.forbids_core) == ("crash", True)
    own = variables(JAVA_TOOL_OPTIONS="-Xmx1g -XX:-CreateCoredumpOnCrash")
    assert programs.of_container({}, own, "").forbids_core


def test_a_variable_from_a_secret_has_no_value_here() -> None:
    own = {"env": [{"name": "GOTRACEBACK", "valueFrom": {"secretKeyRef": {}}}]}
    program = programs.of_container({}, own, "")
    assert (program.runtime, program.traceback) == (GO, "")


@given(some.text(max_size=3000))
def test_no_message_is_too_strange(message: str) -> None:
    programs.of_container({}, {}, message)
