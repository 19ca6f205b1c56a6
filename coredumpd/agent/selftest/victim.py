"""A process of the guard's own that crashes when it is told to.

It is a fork of the guard and executes nothing, so no file of the node can keep it from crashing.
Its core is the headers and notes alone (core(5), coredump_filter 0): some KiB, and no memory.

Tested in: tests/integration/agent/test_self_test.py
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import signal
from pathlib import Path

from coredumpd.formats import self_test

_PR_SET_DUMPABLE = 4  # include/uapi/linux/prctl.h


class Victim:
    """A child that waits for `crash`. It stays a zombie, and its pid its own, until `reap`."""

    def __init__(self) -> None:
        """Fork. Raises OSError."""
        read_end, self._write_end = os.pipe()
        try:
            self.pid = os.fork()
        except OSError:
            os.close(read_end)
            os.close(self._write_end)
            raise
        if self.pid == 0:
            try:
                os.close(self._write_end)
                _wait_and_crash(read_end)
            finally:
                os._exit(1)
        os.close(read_end)

    def mark(self) -> bytes:
        """The bytes by which a handler knows it. Raises OSError."""
        namespace = os.stat(f"/proc/{self.pid}/ns/pid").st_ino
        stat = Path(f"/proc/{self.pid}/stat").read_bytes()
        return self_test.mark(namespace, self.pid, stat)

    def crash(self) -> None:
        """Let it crash."""
        with contextlib.suppress(BrokenPipeError):  # it was killed: it ends without a core
            os.write(self._write_end, b"!")

    def outcome(self) -> bool | None:
        """Did the kernel's core dump have a taker? None while the process still ends."""
        result = os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        return None if result is None else result.si_code == os.CLD_DUMPED

    def reap(self) -> None:
        """End it, if it still lives, and let its pid go."""
        os.close(self._write_end)
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)


def _wait_and_crash(read_end: int) -> None:
    """In the child."""
    signal.signal(signal.SIGABRT, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGABRT})
    ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 1, 0, 0, 0)
    with contextlib.suppress(OSError):  # larger than it need be
        Path("/proc/self/coredump_filter").write_text("0")
    with contextlib.suppress(OSError, ValueError):
        _, hard = resource.getrlimit(resource.RLIMIT_CORE)
        resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))
    if os.read(read_end, 1):
        os.kill(os.getpid(), signal.SIGABRT)
