"""What the kernel's log tells of crashes: what the kernel dropped, what the handlers did.

A process over core_pipe_limit meets no handler, and a handler's only sink is this log. A line's
facility says whether the kernel or a process wrote it; of processes, only root's can
(Documentation/ABI/testing/dev-kmsg).

The kernel prints at most 10 such lines in 5 s of each kind and says with the next one how many it
kept back: alone, this log is late about the end of a storm. `ledger` makes up for it.
"""

from __future__ import annotations

import os
import re
from typing import NamedTuple

from coredumpd.formats import names

KMSG = "/dev/kmsg"
RECORD_BYTES_MAX = 8192  # PRINTK_MESSAGE_MAX and its prefix
RECORDS_AT_ONCE_MAX = 200

# Reasons and what to do about each. The kernel's words: fs/coredump.c, Linux 6.12 to 6.18; before
# 6.12 it says `Pid 1(x) over core_pipe_limit`.
PIPE_LIMIT, QUEUE, SOCKET, NO_HANDLER = "pipe-limit", "socket-queue", "socket-dead", "no-handler"
FAILED, POLICY, NOT_DUMPED = "failed", "policy", "not-dumped"
STORED, LOST_LINES = "stored", "lost-lines"  # no reasons: a crash that is kept, a hole in the log
ADVICE = {
    PIPE_LIMIT: "more crashes at once than agent.corePipeLimit; with agent.capture: socket they"
    " would have waited",
    QUEUE: "more crashes at once than the capture socket's queue holds (net.core.somaxconn)",
    SOCKET: "nobody listened on the capture socket",
    NO_HANDLER: "the kernel could not run the handler; see the node's kernel log",
    FAILED: "the handler could not store it; the node's kernel log says why",
    NOT_DUMPED: "the kernel made no core of it, as of processes that may not be dumped, or its"
    " handler was killed",
}
KERNEL, KEPT_BACK, HANDLER = "kernel", "kept back", "handler"


class Said(NamedTuple):
    """What one line tells: of how many `crashes`, why they left no dump, or that they did."""

    reason: str
    by: str  # KERNEL, HANDLER; KEPT_BACK: the kernel, late, of lines it did not print
    crashes: int = 1
    pid: int | None = None  # of the initial PID namespace; the kernel's lines have another one's


_KERNEL = (
    (
        re.compile(r"coredump: .*: over core_pipe_limit|Pid \d+\(.*\) over core_pipe_limit"),
        PIPE_LIMIT,
    ),
    (re.compile(r"coredump: .*: Coredump socket .*queue full"), QUEUE),
    (re.compile(r"coredump: .*: Coredump socket connection .* failed"), SOCKET),
    (re.compile(r"coredump: .* pipe failed\Z|Core dump to \|.* pipe failed"), NO_HANDLER),
)
_SUPPRESSED = re.compile(r"(?:coredump_(pipe|sock)\w*|do_coredump): (\d{1,9}) callbacks suppressed")
_OURS = (
    (re.compile(r"coredumpd\[\d+\]: crash not stored: (?:pid (\d{1,7}): )?"), FAILED),
    (re.compile(r"coredumpd\[\d+\]: skipped crash of pid (\d{1,7}) "), POLICY),
)
_STORED = re.compile(r"coredumpd\[\d+\]: stored (\S+) of ")


def judge(entry: bytes) -> Said | None:
    """What one record of /dev/kmsg tells of; None for all that is no crash. Pure."""
    prefix, _, rest = entry.decode("utf-8", "replace").partition(";")
    priority = prefix.split(",", 1)[0]
    if not priority.isdecimal():
        return None
    text = rest.split("\n", 1)[0]
    if int(priority) < 8:  # facility 0 cannot be written from user space
        return _from_kernel(text)
    for expression, reason in _OURS:
        if found := expression.match(text):
            return Said(reason, HANDLER, pid=int(found[1]) if found[1] else None)
    stored = _STORED.match(text)
    return Said(STORED, HANDLER, pid=names.pid_of(stored[1])) if stored else None


def _from_kernel(text: str) -> Said | None:
    for expression, reason in _KERNEL:
        if expression.match(text):
            return Said(reason, KERNEL)
    kept_back = _SUPPRESSED.match(text)
    if kept_back is None:
        return None
    return Said(SOCKET if kept_back[1] == "sock" else PIPE_LIMIT, KEPT_BACK, int(kept_back[2]))


def read(kmsg: int) -> list[Said]:
    """What the records waiting in `kmsg`, opened non-blocking, tell of; a bounded number."""
    found = []
    for _ in range(RECORDS_AT_ONCE_MAX):
        try:
            said = judge(os.read(kmsg, RECORD_BYTES_MAX))
        except BlockingIOError:
            break
        except BrokenPipeError:
            # Records were overwritten before we read them; the next read goes on.
            said = Said(LOST_LINES, KERNEL, 0)
        if said is not None:
            found.append(said)
    return found
