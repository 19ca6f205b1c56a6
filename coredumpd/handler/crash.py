"""One crash, its facts and its stream in hand: pin the process, read, decide, capture.

Where the facts come from, the kernel's arguments or a socket's peer, makes no difference here.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # `signal` itself imports enum
import fcntl
import os
import time

from coredumpd import errors
from coredumpd.formats import core_pattern
from coredumpd.formats import host_dir as host_dirs

PROC = "/proc"
FIRST_READ_BYTES = 64 * 1024  # a pipe's default capacity
PIPE_BYTES = 4 * 1024 * 1024
DEFAULT_TIMEOUT_S = 300  # until the policy is read
GRACE_S = 30  # after captureTimeout, for fsync on a slow disk; then SIGALRM ends the handler


def set_deadline(timeout_s: float) -> None:
    """Whatever hangs, this process is gone `timeout_s` and a grace from now."""
    _signal.setitimer(_signal.ITIMER_REAL, timeout_s + GRACE_S)


def take(source: int, args: core_pattern.CrashArgs, host_dir: str, mode: str) -> None:
    """Capture what `args` names from `source`, by the policy below `host_dir`; closes `source`.

    `mode` is `pipe` or `socket`, for the record. Raises the CoredumpdError that kept the crash from
    being stored.
    """
    begun = (time.time(), time.monotonic())
    directory = _pinned(PROC, args.pid)
    first = os.read(source, FIRST_READ_BYTES)
    widen(source)
    # The kernel fills the pipe again while these, and ISA-L, are loaded.
    from coredumpd.formats import policy
    from coredumpd.handler import capture
    from coredumpd.handler.evidence import process

    rules = policy.load_or_default(f"{host_dir}/{host_dirs.POLICY}")
    set_deadline(rules.captureTimeout)
    _yield_to_others(rules.niceness)
    if rules.procDir != PROC:
        directory = _pinned(rules.procDir, args.pid)
    if directory is None:
        raise errors.NotFound(f"process {args.pid} is gone")
    crashed = process.examine(args, directory)
    capture.run(source, first, args, crashed, rules, host_dir, begun, mode)


def _yield_to_others(niceness: int) -> None:
    """The node's own work goes first, in a storm of crashes too."""
    os.nice(niceness)
    # sched(7): it does not preempt whom it wakes up beside; what it gets in the end is the same.
    os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


def widen(source: int) -> None:
    """Let the kernel write ahead: at 64 KiB it and we only take turns, however many cores."""
    for size in (PIPE_BYTES, PIPE_BYTES // 4):
        try:
            fcntl.fcntl(source, fcntl.F_SETPIPE_SZ, size)
        except OSError:
            continue  # above fs.pipe-max-size without CAP_SYS_RESOURCE, or a socket: it works as is
        return


def _pinned(proc_dir: str, pid: int) -> int | None:
    """The process's directory, which names that process for ever; None when it is gone."""
    try:
        return os.open(f"{proc_dir}/{pid}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return None  # reported once the policy has said which directory counts
