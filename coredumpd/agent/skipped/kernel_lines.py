"""Read the kernel's log: which crashes the kernel dropped, and what handlers did with the others.

A process over core_pipe_limit meets no handler, and a handler's only sink is this log. A line's
facility shows whether the kernel or a process wrote it; of processes, only root's can write here
(Documentation/ABI/testing/dev-kmsg). `formats.kernel_log` reads the handlers' lines, this module
the kernel's own.

The kernel prints at most 10 lines of each kind in 5 s, and reports with the next one how many it
suppressed. So this log alone reports the end of a storm late; `ledger` makes up for that.
"""

from __future__ import annotations

import os
import re
from typing import NamedTuple

from coredumpd.formats import kernel_log

RECORD_BYTES_MAX = 8192  # PRINTK_MESSAGE_MAX and its prefix
RECORDS_AT_ONCE_MAX = 200

# Why a crash left no dump, and what an administrator can do about each reason.
PIPE_LIMIT, QUEUE, SOCKET, NO_HANDLER = "pipe-limit", "socket-queue", "socket-dead", "no-handler"
FAILED, POLICY, NOT_DUMPED, SHARE = "failed", "policy", "not-dumped", "share"
UNVOUCHED, SILENT = "unvouched", "handler-silent"
# Not reasons: a crash that is stored; the guard's own; a gap in the log.
STORED, TESTED, LOST_LINES = "stored", "tested", "lost-lines"
NO_LOSS = (STORED, TESTED)
ADVICE = {
    PIPE_LIMIT: "more crashes at once than agent.corePipeLimit; with agent.capture: socket they"
    " would have waited",
    QUEUE: "more crashes at once than the capture socket's queue holds (net.core.somaxconn)",
    SOCKET: "nobody listened on the capture socket",
    NO_HANDLER: "the kernel could not run the handler; the agent's self-test names the cause"
    " (/healthz, the Event CoreDumpSelfTestFailed)",
    FAILED: "the handler could not store it; the node's kernel log has the handler's reason",
    SILENT: "a handler took its core and ended without a word: it could not start, or was killed;"
    " the agent's self-test (/healthz) says whether handlers start",
    SHARE: "its pod or namespace had its share of this node already (policy.captureSlots,"
    " agent.corePipeLimit, policy.spoolMaxEntries); the node's kernel log names the pod",
    UNVOUCHED: "it is in a container, but neither below the kubelet's cgroup nor named by a state"
    " file of its runtime; set policy.runtimeStateDirs or policy.cgroupRoot; the node's kernel log"
    " names the container",
    NOT_DUMPED: "the kernel made no core of it, as of processes that may not be dumped, or its"
    " handler was killed",
}
# Who reports it: the kernel at once, the kernel later for lines it suppressed, or a handler.
KERNEL, KEPT_BACK, HANDLER = "kernel", "kept back", "handler"


class Notice(NamedTuple):
    """One line's news: `crashes` crashes left no dump for `reason`, or were STORED."""

    reason: str
    by: str  # KERNEL, KEPT_BACK or HANDLER
    crashes: int = 1
    pid: int | None = None  # in the initial PID namespace; unknown from the kernel's lines
    container: str | None = None  # its id, where a handler names it
    problem: str = ""  # a handler's words for what kept it from being stored


# The kernel's words: fs/coredump.c, Linux 6.12 to 6.18; before 6.12 `Pid 1(x) over ...`.
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
_HANDLER = {
    kernel_log.NOT_STORED: FAILED,
    kernel_log.SKIPPED: POLICY,
    kernel_log.REFUSED: SHARE,
    kernel_log.UNVOUCHED: UNVOUCHED,
    kernel_log.STORED: STORED,
    kernel_log.TESTED: TESTED,
}


def parse(record: bytes) -> Notice | None:
    """The news in one record of /dev/kmsg; None when it is about no crash. Pure."""
    message = kernel_log.message(record)
    if message is None:
        return None
    text, is_kernels = message
    if is_kernels:
        return _from_kernel(text)
    outcome = kernel_log.parse(text)
    if outcome is None:
        return None
    reason = _HANDLER[outcome.kind]
    return Notice(reason, HANDLER, 1, outcome.pid, outcome.container, outcome.problem)


def _from_kernel(text: str) -> Notice | None:
    for expression, reason in _KERNEL:
        if expression.match(text):
            return Notice(reason, KERNEL)
    suppressed = _SUPPRESSED.match(text)
    if suppressed is None:
        return None
    reason = SOCKET if suppressed[1] == "sock" else PIPE_LIMIT
    return Notice(reason, KEPT_BACK, int(suppressed[2]))


def read(kmsg: int) -> list[Notice]:
    """The news in the records that wait in `kmsg`, opened non-blocking; a bounded number."""
    notices = []
    for _ in range(RECORDS_AT_ONCE_MAX):
        try:
            notice = parse(os.read(kmsg, RECORD_BYTES_MAX))
        except BlockingIOError:
            break
        except BrokenPipeError:
            # Records were overwritten before we read them; the next read goes on.
            notice = Notice(LOST_LINES, KERNEL, 0)
        if notice is not None:
            notices.append(notice)
    return notices
