"""One crash in the making: its facts as they become known, its process pinned, its first bytes.

This module is imported before the first byte is read, while the dying process waits: it imports
next to nothing. `capture` has the rest of the way, and describes all of it.

Tested in: tests/integration/capture/test_by_hand.py
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # `signal` itself imports enum
import fcntl
import os
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from coredumpd.formats import core_pattern, policy
    from coredumpd.handler import own_cgroup
    from coredumpd.handler.evidence import process, runtime_state

PROC = "/proc"
FIRST_READ_BYTES = 64 * 1024  # a pipe's default capacity
PIPE_BYTES = 4 * 1024 * 1024
DEFAULT_TIMEOUT_S = 300  # until the policy is read
GRACE_S = 30  # after captureTimeout, for fsync on a slow disk; then SIGALRM ends the handler


class Crash:
    """The facts about one crash, each set by the step of `capture` that learns it."""

    __slots__ = (
        "args",
        "begun_clock",
        "begun_s",
        "directory",
        "first",
        "host_dir",
        "is_self_test",
        "mode",
        "move",
        "owner",
        "process",
        "rules",
        "source",
    )

    directory: int | None  # the pinned /proc/PID; None when the process was gone
    first: bytes  # the first bytes of the core
    rules: policy.Policy  # for this crash's pod, once its pod is known
    is_self_test: bool  # the agent's own crash, by which it sees that the kernel reaches us
    process: process.Process
    owner: runtime_state.Container | None  # the names of its container, if the runtime knows them

    def __init__(self, source: int, args: core_pattern.CrashArgs, host_dir: str, mode: str) -> None:
        """`source` gives the core; `mode`, `pipe` or `socket`, is how it comes, for the record."""
        self.source = source
        self.args = args
        self.host_dir = host_dir
        self.mode = mode
        self.move: own_cgroup.Move | None = None  # of a process that is not in its cgroup yet
        self.begun_s = time.time()  # since the epoch
        self.begun_clock = time.monotonic()

    @property
    def container_id(self) -> str | None:
        """The id of its container; None while it is not known, or for a process in none."""
        process = getattr(self, "process", None)
        return process.place.container_id if process is not None and process.place else None

    def pin(self, proc_dir: str) -> None:
        """Open the process's directory, whose descriptor names that process for ever."""
        try:
            self.directory = os.open(
                f"{proc_dir}/{self.args.pid}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
            )
        except OSError:
            self.directory = None  # reported once the policy has named the directory that counts


def begin(source: int, args: core_pattern.CrashArgs, host_dir: str, mode: str) -> Crash:
    """The crash that `args` names, its process pinned and its first bytes read.

    The kernel fills the pipe again while the caller loads `capture`, and ISA-L with it.
    """
    crash = Crash(source, args, host_dir, mode)
    crash.pin(PROC)
    crash.first = os.read(source, FIRST_READ_BYTES)
    widen(source)
    return crash


def set_deadline(timeout_s: float) -> None:
    """Whatever hangs, this process is gone `timeout_s` and a grace from now."""
    _signal.setitimer(_signal.ITIMER_REAL, timeout_s + GRACE_S)


def widen(source: int) -> None:
    """Let the kernel write ahead: at 64 KiB it and we only take turns, however many cores."""
    for size in (PIPE_BYTES, PIPE_BYTES // 4):
        try:
            fcntl.fcntl(source, fcntl.F_SETPIPE_SZ, size)
        except OSError:
            continue  # above fs.pipe-max-size without CAP_SYS_RESOURCE, or a socket: it works as is
        return
