"""Crashes that left no dump, from the kernel's log: what the kernel dropped, what handlers refused.

Nobody else says it: a process over core_pipe_limit meets no handler. `/dev/kmsg` is read from where
it stands when the agent starts (Documentation/ABI/testing/dev-kmsg). A line's facility says whether
the kernel or a process wrote it; of processes, only root's can.

The kernel prints at most 10 such lines in 5 s of each kind and says with the next one how many it
kept back, so the count is right in the end, and late for the end of a storm.
"""

from __future__ import annotations

import asyncio
import collections
import logging
import os
import re

from coredumpd.agent import events, metrics

KMSG = "/dev/kmsg"
RECORD_BYTES_MAX = 8192  # PRINTK_MESSAGE_MAX and its prefix
RECORDS_AT_ONCE_MAX = 200
EVENT = "CoreDumpSkipped"
_log = logging.getLogger(__name__)

# Reasons and what to do about each. The kernel's words: fs/coredump.c, Linux 6.12 to 6.18; before
# 6.12 it says `Pid 1(x) over core_pipe_limit`.
PIPE_LIMIT, QUEUE, SOCKET, NO_HANDLER = "pipe-limit", "socket-queue", "socket-dead", "no-handler"
FAILED, POLICY = "failed", "policy"
ADVICE = {
    PIPE_LIMIT: "more crashes at once than agent.corePipeLimit; with agent.capture: socket they"
    " would have waited",
    QUEUE: "more crashes at once than the capture socket's queue holds (net.core.somaxconn)",
    SOCKET: "nobody listened on the capture socket",
    NO_HANDLER: "the kernel could not run the handler; see the node's kernel log",
    FAILED: "the handler could not store it; the node's kernel log says why",
}
_KERNEL = (
    (
        re.compile(r"coredump: .*: over core_pipe_limit|Pid \d+\(.*\) over core_pipe_limit"),
        PIPE_LIMIT,
    ),
    (re.compile(r"coredump: .*: Coredump socket .*queue full"), QUEUE),
    (re.compile(r"coredump: .*: Coredump socket connection .* failed"), SOCKET),
    (re.compile(r"coredump: .* pipe failed\Z|Core dump to \|.* pipe failed"), NO_HANDLER),
)
_SUPPRESSED = re.compile(r"(?:coredump_(pipe|sock)\w*|do_coredump): (\d+) callbacks suppressed")
_OURS = (
    (re.compile(r"coredumpd\[\d+\]: crash not stored: "), FAILED),
    (re.compile(r"coredumpd\[\d+\]: skipped crash of "), POLICY),
)


def judge(entry: bytes) -> tuple[str, int] | None:
    """(reason, how many) that one record of /dev/kmsg tells of; None for all else. Pure."""
    prefix, _, rest = entry.decode("utf-8", "replace").partition(";")
    priority = prefix.split(",", 1)[0]
    if not priority.isdecimal():
        return None
    text = rest.split("\n", 1)[0]
    from_kernel = int(priority) < 8  # facility 0 cannot be written from user space
    for expression, reason in _KERNEL if from_kernel else _OURS:
        if expression.match(text):
            return reason, 1
    kept_back = _SUPPRESSED.match(text) if from_kernel else None
    if kept_back is None:
        return None
    return SOCKET if kept_back[1] == "sock" else PIPE_LIMIT, int(kept_back[2])


class Watcher:
    """Counts every skipped crash and tells of those that nobody wanted skipped."""

    def __init__(self, counters: metrics.Metrics, teller: events.Events, path: str = KMSG) -> None:
        self._metrics = counters
        self._events = teller
        self._path = path
        self._untold: collections.Counter[str] = collections.Counter()
        self._news = asyncio.Event()

    async def run(self) -> None:
        """For ever. Without a readable kernel log nothing is counted, and that is logged."""
        try:
            kmsg = os.open(self._path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            _log.warning("skipped crashes are not counted: %s: %s", self._path, error.strerror)
            await asyncio.Event().wait()  # a job never ends
            return
        loop = asyncio.get_running_loop()
        try:
            os.lseek(kmsg, 0, os.SEEK_END)
            loop.add_reader(kmsg, self._count, kmsg)
            while True:
                await self._news.wait()
                self._news.clear()
                untold, self._untold = self._untold, collections.Counter()
                for reason, count in untold.items():
                    await self._tell(reason, count)
        finally:
            loop.remove_reader(kmsg)
            os.close(kmsg)

    def _count(self, kmsg: int) -> None:
        for reason, count in read(kmsg):
            self._metrics.skipped.labels(reason).inc(count)
            self._untold[reason] += count
            self._news.set()

    async def _tell(self, reason: str, count: int) -> None:
        if reason in ADVICE:
            _log.warning("%d crashes were not captured: %s", count, ADVICE[reason])
            for _ in range(min(count, RECORDS_AT_ONCE_MAX)):  # each raises the Event's count
                await self._events.node(EVENT, f"a crash was not captured: {ADVICE[reason]}")


def read(kmsg: int) -> list[tuple[str, int]]:
    """What the records waiting in `kmsg`, opened non-blocking, tell of; a bounded number."""
    found = []
    for _ in range(RECORDS_AT_ONCE_MAX):
        try:
            said = judge(os.read(kmsg, RECORD_BYTES_MAX))
        except BlockingIOError:
            break
        except BrokenPipeError:
            continue  # records were overwritten before we read them; the next read goes on
        if said is not None:
            found.append(said)
    return found
