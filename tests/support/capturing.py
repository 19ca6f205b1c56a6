"""Let the kernel hand crashes to an installed handler, by either of the two ways."""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from coredumpd import pattern, record
from support import corepattern, installed, pods, waiting

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


def crash(handler: installed.Installed, pod: pods.Pod, *command: object) -> Path:
    """The spool entry of `command`'s crash in `pod`, by pipe."""
    with owning(handler):
        pod.start([str(word) for word in command], cwd="/").wait(timeout=60)
    return handler.wait_for_entry()


def read(entry: Path) -> record.CrashRecord:
    """An entry's record, strictly."""
    return record.CrashRecord.parse((entry / "meta.json").read_bytes())


def belongs(crashed: record.CrashRecord, pod: pods.Pod) -> bool:
    """Is it kept under the pod it happened in?"""
    return str(crashed.key()) == f"shop/{pod.uid}/app/{crashed.id}"


def part(handler: installed.Installed, stored_bytes: int = 1) -> Path:
    """The capture in progress, once it holds so many bytes."""

    def found() -> Path | None:
        for core in handler.spool.glob("*.part/core.gz"):
            with contextlib.suppress(FileNotFoundError):  # committed meanwhile
                if core.stat().st_size >= stored_bytes:
                    return core.parent
        return None

    started = waiting.until("a capture", found, 30, 0.005)
    assert started is not None
    return started


def handlers(handler: installed.Installed) -> list[int]:
    """The pids of running handlers of this installation."""
    name = str(handler.host_dir).encode()
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # gone meanwhile
            if name in path.read_bytes():
                found.append(int(path.parent.name))
    return found


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
