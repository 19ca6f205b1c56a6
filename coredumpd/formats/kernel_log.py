"""The lines that a handler writes to the kernel's log, and how the agent reads them back.

The kernel's log is the only sink a handler has. From these lines the agent learns which crashes
were stored, skipped or lost (`agent/skipped`); administrators find them with `dmesg`. Each kind of
line has one function here that renders it, and `parse` knows them all. Warnings are for people
only: `parse` answers None for them.

No dataclasses, typing or re: the crash path imports this module before it reads the first byte.
"""

from __future__ import annotations

import os

from coredumpd import log

KMSG = "/dev/kmsg"
LINE_BYTES_MAX = 900  # the kernel's own limit for one /dev/kmsg record is near 1 KiB
ERROR, WARNING, INFO = 3, 4, 6  # syslog(3) severities
# The kinds of lines that tell of one crash.
STORED, SKIPPED, NOT_STORED, REFUSED = "stored", "skipped", "not stored", "refused"
UNVOUCHED, TESTED = "unvouched", "tested"

_PROGRAM = "coredumpd"
_STORED = "stored "
_OWNER = " of "
_SKIPPED = "skipped crash of pid "
_REFUSED = "refused crash of pid "
_UNVOUCHED = "unvouched crash of pid "
_NOT_STORED = "crash not stored: "
_TESTED = "self-test by pid "
_PID = "pid "
_PID_DIGITS_MAX = 7  # PID_MAX_LIMIT is 4194304
_CONTAINER = " of container "  # directly behind the pid, before anything that a tenant wrote


class Outcome:
    """One crash as a handler's line reports it: `kind` is one of the above.

    `pid` is the process's in the initial PID namespace; None where the handler never learnt it.
    `problem` is what kept a crash from being stored, "" for one that is stored; `container` is the
    id of its container, where the line has it.
    """

    __slots__ = ("container", "kind", "pid", "problem")

    def __init__(
        self, kind: str, pid: int | None, problem: str = "", container: str | None = None
    ) -> None:
        self.kind = kind
        self.pid = pid
        self.problem = problem
        self.container = container

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Outcome) and (self.kind, self.pid) == (other.kind, other.pid)

    def __hash__(self) -> int:
        return hash((self.kind, self.pid))

    def __repr__(self) -> str:
        return f"Outcome({self.kind!r}, {self.pid})"


def stored(id: str, owner: str, size: int, stored_size: int, truncated: str | None) -> str:
    """The dump `id` of `owner` is in the spool; `truncated` says why it was cut, if it was."""
    cut = f", truncated: {truncated}" if truncated else ""
    return f"{_STORED}{id}{_OWNER}{owner}: {size} -> {stored_size} bytes{cut}"


def refused(pid: int, comm: str, owner: str, reason: str, container: str | None = None) -> str:
    """The crash of `owner` has no share of this node's captures left; `reason` says of which."""
    return f"{_REFUSED}{pid}{_of(container)} ({comm}) of {owner}: {reason}"


def skipped(pid: int, comm: str, reason: str, container: str | None = None) -> str:
    """By policy, the crash of process `pid`, named `comm`, leaves no dump."""
    return f"{_SKIPPED}{pid}{_of(container)} ({comm}): {reason}"


def unvouched(pid: int, comm: str, reason: str) -> str:
    """The crash of process `pid` may be a pod's, which nothing proves; `reason` says why."""
    return f"{_UNVOUCHED}{pid} ({comm}): {reason}"


def not_stored(pid: int | None, problem: str, container: str | None = None) -> str:
    """A crash is lost because of `problem`; `pid` None: before its process was known."""
    process = f"{_PID}{pid}{_of(container)}: " if pid is not None else ""
    return f"{_NOT_STORED}{process}{problem}"


def tested(pid: int) -> str:
    """The guard's own process `pid` has crashed, and its entry is in the spool."""
    return f"{_TESTED}{pid}: captured"


def _of(container: str | None) -> str:
    return f"{_CONTAINER}{container}" if container else ""


def message(record: bytes) -> tuple[str, bool] | None:
    """(text, is it the kernel's own?) of one record of /dev/kmsg; None for what is no record.

    Documentation/ABI/testing/dev-kmsg: facility 0 cannot be written from user space.
    """
    prefix, _, rest = record.decode("utf-8", "replace").partition(";")
    priority = prefix.split(",", 1)[0]
    if not priority.isdecimal():
        return None
    return rest.split("\n", 1)[0], int(priority) < 8


def parse(text: str) -> Outcome | None:
    """The crash that one line of the kernel's log tells of.

    `text` is the line without the priority that the kernel puts before it. None for a line of
    another program and for a warning. Any process of root can write such lines, and nobody else.
    """
    program, bracket, rest = text.partition("]: ")
    name, _, handler_pid = program.partition("[")
    if not bracket or name != _PROGRAM or not handler_pid.isdecimal():
        return None
    if rest.startswith(_NOT_STORED):
        problem = rest.removeprefix(_NOT_STORED)
        process, colon, cause = problem.partition(": ")
        pid, container = _process(process.removeprefix(_PID))
        if not process.startswith(_PID) or not colon or pid is None:
            return Outcome(NOT_STORED, None, problem)
        return Outcome(NOT_STORED, pid, cause, container)
    for kind, start in ((SKIPPED, _SKIPPED), (REFUSED, _REFUSED), (UNVOUCHED, _UNVOUCHED)):
        if rest.startswith(start):
            process, bracket, about = rest.removeprefix(start).partition(" (")
            pid, container = _process(process)
            # Behind the command's name, which may look like anything: of its own pod alone.
            cause = about.partition(")")[2].partition(": ")[2]
            return Outcome(kind, pid, cause, container) if bracket and pid is not None else None
    if rest.startswith(_TESTED):
        pid, _ = _process(rest.removeprefix(_TESTED).partition(": ")[0])
        return None if pid is None else Outcome(TESTED, pid)
    if rest.startswith(_STORED):
        from coredumpd.formats import names  # not before the first byte is read

        id, owner, _ = rest.removeprefix(_STORED).partition(_OWNER)
        return Outcome(STORED, names.pid_of(id)) if owner and id and " " not in id else None
    return None


def line(message: str) -> str:
    """`message` as this process writes it: escaped, bounded, the program's name before it."""
    return f"{_PROGRAM}[{os.getpid()}]: {log.escape(message)}"[:LINE_BYTES_MAX]


def write(severity: int, message: str) -> None:
    """Write one line to the kernel's log. `severity` is one of syslog(3).

    A log that cannot be written must not stop a capture, so an OSError is dropped here: the
    consequence is a crash that is stored but not announced.
    """
    try:
        sink = os.open(KMSG, os.O_WRONLY | os.O_CLOEXEC | os.O_NOCTTY)
    except OSError:
        return
    try:
        os.write(sink, f"<{severity}>{line(message)}\n".encode())
    except OSError:
        pass  # as above
    finally:
        os.close(sink)


def _process(text: str) -> tuple[int | None, str | None]:
    """The pid, and the container if there is one, of `PID[ of container ID]`."""
    word, of, container = text.partition(_CONTAINER)
    plain = word.isascii() and word.isdecimal() and len(word) <= _PID_DIGITS_MAX
    return int(word) if plain else None, container if of and _is_id(container) else None


def _is_id(text: str) -> bool:
    return len(text) == 64 and set(text) <= set("0123456789abcdef")
