"""One self-test: crash a process of the guard's own, wait for its entry in the spool, remove it.

Proof is an entry that a handler has written, whole, for this very process. It has a name that no
scan takes for a dump. Runs on the event loop; all files are small.

Tested in: tests/integration/agent/test_self_test.py
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from coredumpd import durable, errors
from coredumpd.agent.selftest import log_lines, victim
from coredumpd.formats import host_dir as host_dirs
from coredumpd.formats import kernel_log
from coredumpd.formats import record as records
from coredumpd.spool import capture

POLL_S = 0.01
QUIET_S = 3.0  # after the process has gone: a handler that lives writes its entry within that
DEADLINE_S = 20.0  # on a node that is busy with crashes


class Result(NamedTuple):
    """The outcome of one crash.

    `record`: that of the entry which the handler wrote; None when it wrote none. `consumed`: the
    kernel handed a core to somebody; None when the process did not even end. `lines`: the log's.
    """

    record: records.CrashRecord | None
    consumed: bool | None
    lines: log_lines.Lines


class Probe:
    """Self-tests of the installation below one hostDir, one at a time."""

    def __init__(
        self,
        host_dir: Path,
        announce: Callable[[int | None], None],
        kmsg: str = kernel_log.KMSG,
    ) -> None:
        """`announce` is called with the pid of each process before it crashes, None after that."""
        self._host_dir = host_dir
        self._announce = announce
        self._kmsg = kmsg

    async def run(self) -> Result:
        """Crash once. Raises StorageError when the guard cannot write its own files."""
        try:
            return await self._run()
        except OSError as error:
            raise errors.StorageError(str(error)) from error

    async def _run(self) -> Result:
        self.clear()
        with contextlib.closing(log_lines.Log(self._kmsg)) as log:
            child = victim.Victim()
            try:
                self._announce(child.pid)
                self._put(child.mark())
                child.crash()
                return await self._result(child, log)
            finally:
                try:
                    self.clear()  # while the pid is still the child's
                finally:
                    child.reap()
                    self._announce(None)

    async def _result(self, child: victim.Victim, log: log_lines.Log) -> Result:
        deadline = time.monotonic() + DEADLINE_S
        ended_s: float | None = None
        while True:
            await asyncio.sleep(POLL_S)
            consumed, lines, record = child.outcome(), log.about(child.pid), self._entry(child.pid)
            now_s = time.monotonic()
            if consumed is not None and ended_s is None:
                ended_s = now_s
            silent = lines.problem is None and (consumed or lines.kernel is None)
            explained = ended_s is not None and not silent
            quiet = ended_s is not None and now_s - ended_s >= QUIET_S
            if record is not None or explained or quiet or now_s >= deadline:
                return Result(record, consumed, lines)

    def _put(self, mark: bytes) -> None:
        directory = os.open(self._host_dir, durable.DIRECTORY)
        try:
            durable.write_whole_at(host_dirs.SELF_TEST, directory, mark, sync=False)
        finally:
            os.close(directory)

    def _entry(self, pid: int) -> records.CrashRecord | None:
        path = f"{self._host_dir}/{host_dirs.SPOOL}/{host_dirs.SELF_TEST_ENTRY}/{capture.META}"
        try:
            with os.fdopen(durable.open_regular(path), "rb") as file:
                record = records.CrashRecord.parse(file.read(records.RECORD_BYTES_MAX + 1))
        except (OSError, errors.CoredumpdError):
            return None  # not there yet
        return record if record.raw["process"]["nsPid"] == pid else None

    def clear(self) -> None:
        """Remove what a self-test leaves: the guard's file, the entry or its `.part`."""
        durable.unlink(str(self._host_dir / host_dirs.SELF_TEST))
        with contextlib.suppress(FileNotFoundError):
            spool = os.open(self._host_dir / host_dirs.SPOOL, durable.DIRECTORY)
            try:
                for suffix in ("", capture.PART):
                    durable.remove_flat(host_dirs.SELF_TEST_ENTRY + suffix, spool)
            finally:
                os.close(spool)
