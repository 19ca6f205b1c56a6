"""The lines of the kernel's log about one process: the kernel's own, and our handler's.

Tested in: tests/unit/agent/selftest/test_log_lines.py
"""

from __future__ import annotations

import os
from typing import NamedTuple

from coredumpd.formats import kernel_log

RECORD_BYTES_MAX = 8192
RECORDS_MAX = 2000


class Lines(NamedTuple):
    """`problem`: what the handler says kept it from storing; `kernel`: the kernel's own line."""

    problem: str | None = None
    kernel: str | None = None


def parse(record: bytes, pid: int, lines: Lines) -> Lines:
    """`lines`, with the news about process `pid` in one record of /dev/kmsg. Pure.

    The kernel's lines have a pid of the process's own PID namespace, the handler's one of the
    initial namespace: `pid` is both only for a guard in the initial one.
    """
    message = kernel_log.message(record)
    if message is None:
        return lines
    text, is_kernels = message
    if is_kernels:
        # fs/coredump.c: `coredump: PID(comm): ...`; before Linux 6.12 `Pid PID(comm) over ...`.
        ours = text.startswith((f"coredump: {pid}(", f"Pid {pid}("))
        return lines._replace(kernel=text) if ours else lines
    outcome = kernel_log.parse(text)
    if outcome is None or outcome.kind != kernel_log.NOT_STORED or outcome.pid != pid:
        return lines
    return lines._replace(problem=outcome.problem)


class Log:
    """The kernel's log from now on. Without a log there are no lines."""

    def __init__(self, path: str) -> None:
        self._lines = Lines()
        try:
            self._file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            os.lseek(self._file, 0, os.SEEK_END)
        except OSError:
            self._file = -1

    def about(self, pid: int) -> Lines:
        """All lines so far about process `pid`; call it with one pid only."""
        for _ in range(RECORDS_MAX if self._file >= 0 else 0):
            try:
                record = os.read(self._file, RECORD_BYTES_MAX)
            except BrokenPipeError:
                continue  # records were overwritten before we read them
            except OSError:
                break  # no more
            self._lines = parse(record, pid, self._lines)
        return self._lines

    def close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
