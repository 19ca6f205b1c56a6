"""Slots: how many captures run at once, and who has how many of them.

A file below hostDir has a line of fixed length for each slot. Whoever holds a slot holds a lock on
its line, which the kernel removes with the process, however that ends; so there is nothing to clean
up, and a line without a lock means nothing. Locks are those of an open file description (fcntl(2),
F_OFD_SETLK): handlers by pipe, and workers of the capture socket, count alike.

A crash takes two slots. The first one, of as many as the kernel starts handlers (core_pipe_limit),
lets it wait; the second one lets it capture. Who is refused the first is gone at once.

Tested in: tests/unit/handler/test_slots.py
"""

from __future__ import annotations

import fcntl
import os
import time

from coredumpd import durable
from coredumpd.formats import kernel_log
from coredumpd.handler import shares

LINE_BYTES = 192  # a namespace, of at most 63, a pod's uid, of at most 128
DEFAULT_HANDLERS = 128  # where core_pipe_limit is 0 or cannot be read
HANDLERS_MAX = 4096
PIPE_LIMIT = "/proc/sys/kernel/core_pipe_limit"
RETRY_S = 0.02
_SAFELY = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_DOOR = 2**62  # held while somebody counts and takes


def take(host_dir: int, name: str, slots: int, asking: shares.Holder) -> str | None:
    """Take a slot of the file `name` until this process ends; the reason when it is refused.

    `host_dir` is open. A file that cannot be used refuses nobody: a line in the kernel's log
    says so. It is only a share that is lost, not a rule about who may see what.
    """
    try:
        writable = os.open(name, os.O_RDWR | os.O_CREAT | _SAFELY, 0o600, dir_fd=host_dir)
        try:
            if not durable.is_plain(writable) or not durable.is_ours(writable):
                raise durable.NotRegularError(0, "it is not a plain file of ours")
            _lock(writable, fcntl.F_WRLCK, _DOOR, wait=True)
            return _take(
                writable, os.open(name, os.O_RDONLY | _SAFELY, dir_fd=host_dir), slots, asking
            )
        finally:
            os.close(writable)  # the door is open again
    except OSError as error:
        problem = f"capturing without shares: {name}: {error.strerror}"
        kernel_log.write(kernel_log.WARNING, problem)
        return None


def wait(
    host_dir: int, name: str, slots: int, asking: shares.Holder, deadline: float
) -> str | None:
    """As `take`, again and again until the monotonic clock says `deadline`."""
    while (refusal := take(host_dir, name, slots, asking)) is not None:
        if time.monotonic() >= deadline:
            return refusal
        time.sleep(RETRY_S)
    return None


def handlers() -> int:
    """How many handlers the kernel runs at once."""
    try:
        descriptor = os.open(PIPE_LIMIT, os.O_RDONLY | os.O_CLOEXEC)
        try:
            return min(int(os.read(descriptor, 32)), HANDLERS_MAX) or DEFAULT_HANDLERS
        finally:
            os.close(descriptor)
    except (OSError, ValueError):
        return DEFAULT_HANDLERS  # a reduced /proc


def _take(writable: int, own: int, slots: int, asking: shares.Holder) -> str | None:
    """As `take`, at the door. `own` stays open with the slot; the sandbox gets no writable file."""
    data = os.pread(writable, slots * LINE_BYTES, 0)
    holders, free = [], None
    for start in range(0, slots * LINE_BYTES, LINE_BYTES):
        if _is_locked(writable, start):
            words = data[start : start + LINE_BYTES].decode("ascii", "replace").split(" ")
            holders.append(shares.Holder(words[0], words[1] if len(words) > 1 else ""))
        elif free is None:
            free = start
    refusal = shares.refusal(asking, holders, slots)
    if refusal is not None or free is None:
        os.close(own)
        return refusal
    text = f"{asking.namespace} {asking.pod_uid} "
    os.pwrite(writable, text.encode("ascii", "replace")[:LINE_BYTES].ljust(LINE_BYTES), free)
    _lock(own, fcntl.F_RDLCK, free, wait=False)
    return None


def _lock(descriptor: int, kind: int, start: int, wait: bool) -> None:
    command = fcntl.F_OFD_SETLKW if wait else fcntl.F_OFD_SETLK
    fcntl.fcntl(descriptor, command, _flock(kind, start))


def _is_locked(descriptor: int, start: int) -> bool:
    answer = fcntl.fcntl(descriptor, fcntl.F_OFD_GETLK, _flock(fcntl.F_WRLCK, start))
    return int.from_bytes(answer[:2], "little") != fcntl.F_UNLCK


def _flock(kind: int, start: int) -> bytes:
    """struct flock of 64-bit machines: type, whence, start, length, pid; one byte is locked."""
    parts = (
        kind.to_bytes(2, "little") + bytes(6),
        start.to_bytes(8, "little"),
        (1).to_bytes(8, "little"),
        bytes(8),
    )
    return b"".join(parts)
