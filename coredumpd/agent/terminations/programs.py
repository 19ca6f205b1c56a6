"""The language's runtime that a container runs, as far as its pod's document shows it. Pure.

Evidence, best first: the report that a runtime prints when it crashes (in the termination message,
which is the end of the log under `terminationMessagePolicy: FallbackToLogsOnError`), the program in
`command`, and variables that only one runtime reads. An image's own entry point is not in the
document: then nothing is known.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

GO, RUST, JAVA = "Go", "Rust", "Java"
_REPORTS = (  # beginnings of lines; a message is whatever a tenant writes, so they are bounded
    (GO, re.compile(r"^goroutine \d{1,20} (?:gp=0x[0-9a-f]{1,16} [^\n\[]{0,80})?\[", re.M)),
    (RUST, re.compile(r"^thread '[^'\n]{0,200}' (?:\(\d{1,9}\) )?panicked at ", re.M)),
    (JAVA, re.compile(r"^# A fatal error has been detected by the Java Runtime Envi", re.M)),
)
_PROGRAMS = {"java": JAVA}
_VARIABLES = {
    "GOTRACEBACK": GO,
    "GOMAXPROCS": GO,
    "GOMEMLIMIT": GO,
    "GOGC": GO,
    "RUST_BACKTRACE": RUST,
    "JAVA_TOOL_OPTIONS": JAVA,
    "JDK_JAVA_OPTIONS": JAVA,
    "JAVA_OPTS": JAVA,
}
MESSAGE_CHARS_MAX = 4096  # kubelet: MaxContainerTerminationMessageLength
_NO_CORE = "-XX:-CreateCoredumpOnCrash"


@dataclasses.dataclass(frozen=True)
class Program:
    """A container's program, as far as its pod shows it.

    `runtime`: GO, RUST, JAVA, or None: not known. `is_reported`: it printed that it crashed.
    `is_first`: it is PID 1 of a PID namespace. `traceback`: GOTRACEBACK in the pod's document.
    `forbids_core`: an option of a JVM says that a crash leaves no core.
    """

    runtime: str | None = None
    is_reported: bool = False
    is_first: bool = True
    traceback: str | None = None
    forbids_core: bool = False


def of_container(spec: Mapping[str, Any], container: Mapping[str, Any], message: str) -> Program:
    """The program of `container`, an entry of a pod's `spec`, whose last words are `message`."""
    variables = {
        str(one.get("name")): str(one.get("value", "")) for one in container.get("env") or []
    }
    command = [str(word) for word in container.get("command") or []]
    options = command + [str(word) for word in container.get("args") or []]
    options += " ".join(variables.get(name, "") for name in _VARIABLES).split()
    reported = _reported(message[-MESSAGE_CHARS_MAX:])
    named = _PROGRAMS.get(command[0].rpartition("/")[2]) if command else None
    hints = {_VARIABLES[name] for name in variables if name in _VARIABLES}
    hint = hints.pop() if len(hints) == 1 else None
    shares = bool(spec.get("shareProcessNamespace") or spec.get("hostPID"))
    return Program(
        reported or named or hint,
        reported is not None,
        is_first=not shares and not container.get("targetContainerName"),
        traceback=variables.get("GOTRACEBACK"),
        forbids_core=_NO_CORE in options,
    )


def _reported(message: str) -> str | None:
    for runtime, expression in _REPORTS:
        if expression.search(message):
            return runtime
    return None
