"""Decides why a container left no core: facts go in, a reason and a sentence come out. Pure.

A cause is named only if something shows it: the kubelet's word, a handler's line, the guard's
account, a rule. What is merely usual is called so. The table of docs/runtimes.md has the codes with
which runtimes end; tests/runtimes runs each of its lines.
"""

from __future__ import annotations

import dataclasses
import signal

from coredumpd.agent.skipped import kernel_lines
from coredumpd.agent.terminations import programs, statuses
from coredumpd.formats import guard_status

OOM, RULE, NODE = "oom-killed", kernel_lines.POLICY, "node"
FIRST, TRACEBACK, UNWIND, OPTION = "pid-1", "gotraceback", "panic-unwind", "jvm-option"
UNKNOWN = "unknown"
LOSS_WINDOW_S = 60.0  # between a container's end and the guard's report of a crash in it
OOM_KILLED = "OOMKilled"
_NOT_STARTED = ("StartError", "ContainerCannotRun")  # words of containerd and docker
# signal(7): those whose default action is to dump core; SIGIOT, SIGUNUSED are names of others.
_DUMPING = frozenset(
    (
        *(signal.SIGQUIT, signal.SIGILL, signal.SIGTRAP, signal.SIGABRT, signal.SIGBUS),
        *(signal.SIGFPE, signal.SIGSEGV, signal.SIGXCPU, signal.SIGXFSZ, signal.SIGSYS),
    )
)
_LOSSES = frozenset((kernel_lines.POLICY, *kernel_lines.ADVICE)) - {kernel_lines.UNVOUCHED}
REASONS = (OOM, *sorted(_LOSSES), FIRST, TRACEBACK, UNWIND, OPTION, NODE, UNKNOWN)
_GO_CODE, _RUST_CODE, _ABORT_CODE, _JVM_CODE = 2, 101, 127, 1
_ANOTHER_FIRST = "let another process be PID 1 (shareProcessNamespace: true)"
_SEE = "see docs/runtimes.md"


@dataclasses.dataclass(frozen=True)
class Facts:
    """Observations of one end of a container that no dump is about.

    `loss`: the guard's latest loss in this container. `rule`: why captures are disabled for its
    pod. `problem`: why the agent of this node is not well.
    """

    termination: statuses.Termination
    loss: guard_status.Loss | None = None
    rule: str | None = None
    problem: str | None = None


@dataclasses.dataclass(frozen=True)
class Finding:
    """`reason`: a label of the metric; `sentence`: for the Event."""

    reason: str
    sentence: str


def is_candidate(termination: statuses.Termination) -> bool:
    """Can this have been a crash, by the code and what is known of the program alone?"""
    return (
        termination.reason == OOM_KILLED
        or dumping_signal(termination.code) is not None
        or _of_program(termination) is not None
    )


def dumping_signal(code: int) -> str | None:
    """The name of the signal of an exit code, if its default action is to dump core."""
    return signal.Signals(code - 128).name if code - 128 in _DUMPING else None


def decide(facts: Facts) -> Finding | None:
    """The best cause that the facts show; None for an end that was no crash."""
    termination, loss = facts.termination, facts.loss
    if termination.code == 0 and termination.reason != OOM_KILLED:
        return None
    if loss is not None and abs(loss.time_s - termination.finished_s) > LOSS_WINDOW_S:
        loss = None
    if loss is None and not is_candidate(termination):
        return None
    reason, cause = _cause(facts, loss)
    return Finding(reason, f"no core was stored of container {_described(termination)}: {cause}")


def _cause(facts: Facts, loss: guard_status.Loss | None) -> tuple[str, str]:
    termination = facts.termination
    if termination.reason == OOM_KILLED:
        cause = "the kernel's out-of-memory killer ended it (SIGKILL), which never dumps core"
        return OOM, cause
    if loss is not None and not (loss.reason == RULE and facts.rule):
        return (loss.reason if loss.reason in _LOSSES else UNKNOWN), _of_loss(loss)
    own = _of_program(termination) if loss is None else None
    if own is not None:
        return own
    if facts.rule is not None:
        return RULE, facts.rule
    if facts.problem is not None:
        return NODE, f"the cause is not known, but this node's agent is not well: {facts.problem}"
    first = (
        f"; as PID 1 it ignores signals of its own, {_ANOTHER_FIRST}"
        if termination.program.is_first
        else ""
    )
    return UNKNOWN, (
        "the cause is not known. Usual causes are a program that ends with this code by itself, as"
        " a shell does after its child, or in a signal handler, and one that may not be dumped"
        f" (setuid, PR_SET_DUMPABLE){first}; {_SEE}"
    )


def _of_loss(loss: guard_status.Loss) -> str:
    advice = kernel_lines.ADVICE.get(loss.reason, "its crash was not captured")
    if not loss.problem:
        return advice
    if loss.reason == kernel_lines.FAILED:
        return f"its crash was not stored: {loss.problem}"
    return loss.problem


def _of_program(termination: statuses.Termination) -> tuple[str, str] | None:
    """A cause that lies in the runtime, where the runtime is known; None for any other end."""
    program, code = termination.program, termination.code
    if termination.reason in _NOT_STARTED:
        return None
    hedge = "" if program.is_reported else ", if it crashed"
    if program.runtime == programs.GO and code == _GO_CODE:
        if program.traceback == "crash" and program.is_first:
            return FIRST, (
                f"a Go program that is PID 1 ends with this code{hedge}: its SIGABRT cannot end"
                f" PID 1; {_ANOTHER_FIRST}; {_SEE}"
            )
        if program.traceback != "crash":
            also = f", and {_ANOTHER_FIRST}" if program.is_first else ""
            return TRACEBACK, (
                f"a Go program ends with this code{hedge}; set the variable"
                f" GOTRACEBACK=crash{also}; {_SEE}"
            )
    if program.runtime == programs.RUST and code == _RUST_CODE:
        return UNWIND, (
            f'a Rust program that panics ends with this code{hedge}; set panic = "abort" in its'
            f" profile; {_SEE}"
        )
    if program.runtime == programs.JAVA and code == _ABORT_CODE and program.is_first:
        also = "" if program.is_reported else " (and so does a shell that finds no program)"
        return FIRST, (
            f"a JVM that crashes as PID 1 ends with this code{also}: its SIGABRT cannot end PID 1;"
            f" {_ANOTHER_FIRST}; {_SEE}"
        )
    if program.runtime == programs.JAVA and code == _JVM_CODE and program.is_reported:
        option = "" if program.forbids_core else ", if it has that option"
        return OPTION, (
            "a JVM that crashes ends with this code under -XX:-CreateCoredumpOnCrash"
            f"{option}; leave it out; {_SEE}"
        )
    return None


def _described(termination: statuses.Termination) -> str:
    name = dumping_signal(termination.code)
    number = f"{termination.code} ({name})" if name else str(termination.code)
    return f"{termination.container}, which ended with exit code {number}"
