"""Let the kernel hand crashes to an installed handler, by either of the two ways."""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from coredumpd import pattern
from support import corepattern, installed

MODES = ("pipe", "socket")
_CORE_MODES = Path("/proc/sys/kernel/core_modes")
needs_core_pattern = pytest.mark.skipif(
    not corepattern.writable(), reason="core_pattern is not writable"
)
needs_sockets = pytest.mark.skipif(
    not _CORE_MODES.exists() or "socket" not in _CORE_MODES.read_text().split(),
    reason="this kernel has no capture sockets",
)


@contextlib.contextmanager
def owning(handler: installed.Installed, mode: str = "pipe", workers: int = 16) -> Iterator[None]:
    """Crashes go to `handler` while the block runs; `workers` at once."""
    with corepattern.borrowed(), contextlib.ExitStack() as stack:
        corepattern.SYSCTLS[1].write_text(str(workers))
        if mode == "socket":
            stack.enter_context(Listener(handler, workers))
            corepattern.SYSCTLS[0].write_text(pattern.render_socket(str(handler.host_dir)))
        else:
            corepattern.SYSCTLS[0].write_text(pattern.render(str(handler.executable)))
        yield


class Listener:
    """`coredumpd handle --listen`, started as the agent does. The block ends when it has drained.

    It restores core_pattern to the pipe handler when `control` closes, so hold `borrowed()`.
    """

    def __init__(
        self, handler: installed.Installed, workers: int, listening: socket.socket | None = None
    ) -> None:
        """`listening`: the socket of a listener that died."""
        self.path = handler.host_dir / pattern.SOCKET
        self.control, theirs = socket.socketpair()
        if listening is None:
            listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            listening.bind(str(self.path))
            listening.listen(4096)
        self.listening = listening
        self.stderr = handler.host_dir / "listener.stderr"
        command = [str(handler.executable), "handle", "--listen", str(workers)]
        with self.stderr.open("wb") as sink:
            self.process = subprocess.Popen(
                command, stdin=self.listening, stdout=theirs, stderr=sink, env={}, cwd="/"
            )
        theirs.close()
        self.control.settimeout(30)
        assert self.control.recv(1) == b".", self.said()

    def said(self) -> str:
        """Its standard error: must stay empty."""
        return self.stderr.read_text()

    def __enter__(self) -> Listener:
        return self

    def __exit__(self, *_: object) -> None:
        self.control.close()
        self.listening.close()
        try:
            self.process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self.process.send_signal(signal.SIGKILL)
            raise
        assert self.said() == ""
