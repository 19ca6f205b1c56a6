"""From the facts to the cause, and to one sentence about it. Pure."""

from __future__ import annotations

import dataclasses
import errno
import os

from coredumpd.agent.selftest import causes

# In a handler's words: there is no room.
_FULL = ("spoolMaxEntries", os.strerror(errno.ENOSPC), os.strerror(errno.EDQUOT))
# In the kernel's (fs/coredump.c, Linux 4.18 to 6.18).
_BUSY = ("over core_pipe_limit", "queue full")
_NO_LISTENER = "Coredump socket"


@dataclasses.dataclass(frozen=True)
class Facts:
    """The node after a self-test. None and "" stand for "nothing speaks for it".

    `full` says that the spool's limits cut the entry. `hidden`, `noexec`: hostDir, as PID 1's
    mounts have it. `start`: why the launcher does not run. `nested`: the guard is not in the
    initial PID namespace.
    """

    host_dir: str
    mode: str  # "pipe" or "socket"
    passed: bool = False
    full: bool = False
    consumed: bool | None = False
    begun: bool = True  # False: the guard did not get as far as the crash
    problem: str = ""  # of the handler, or of such a guard, in its own words
    kernel: str = ""  # the kernel's line about the process
    hidden: bool = False
    noexec: bool = False
    start: str = ""
    static_helper: str | None = None  # the path that the kernel runs instead of any helper
    selinux_label: str | None = None  # the launcher's; None: SELinux is not enforcing
    nested: bool = False


def cause_of(facts: Facts) -> causes.Cause:
    """The first that fits, from what is certain to what is only likely."""
    if facts.passed:
        return causes.FULL if facts.full else causes.PASSED
    if facts.problem:
        return _of_handler(facts)
    if any(words in facts.kernel for words in _BUSY):
        return causes.BUSY
    if facts.consumed is None:
        return causes.HANGS
    if _NO_LISTENER in facts.kernel:
        return causes.LISTENER
    return _of_files(facts) or _of_silence(facts)


def _of_files(facts: Facts) -> causes.Cause | None:
    """A cause that lies in the files where the kernel looks for the handler."""
    if facts.hidden:
        return causes.HIDDEN
    if facts.noexec:
        return causes.NOEXEC
    return causes.LOADER if facts.start else None


def _of_handler(facts: Facts) -> causes.Cause:
    """The handler, or the guard before the crash, says what is wrong."""
    if any(words in facts.problem for words in _FULL):
        return causes.FULL
    if os.strerror(errno.EROFS) in facts.problem:
        return causes.READ_ONLY
    return causes.HANDLER if facts.begun else causes.GUARD


def _of_silence(facts: Facts) -> causes.Cause:
    """The handler would start, and says nothing."""
    if facts.nested:
        return causes.NESTED
    if facts.consumed:
        return causes.KILLED
    if facts.static_helper is not None and facts.mode == "pipe":
        return causes.STATIC_HELPER
    if facts.selinux_label is not None:
        return causes.SELINUX
    return causes.UNKNOWN


def sentence(cause: causes.Cause, facts: Facts) -> str:
    """For a person: the cause, and what to do about it."""
    fields = dataclasses.asdict(facts) | {"kernel": facts.kernel or "nothing"}
    text = cause.sentence.format(**fields)
    return f"{text}; {cause.remedy.format(**fields)}" if cause.remedy else text
