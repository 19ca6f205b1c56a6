"""Let the kernel hand crashes to an installed handler, by either of the two ways."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from coredumpd import errors
from coredumpd.agent.skipped import connector
from coredumpd.formats import core_pattern
from coredumpd.formats import host_dir as host_dirs
from coredumpd.formats import record as records
from support import waiting
from support.node import corepattern, installed, pods

MODES = ("pipe", "socket")
_CORE_MODES = Path("/proc/sys/kernel/core_modes")
needs_core_pattern = pytest.mark.skipif(
    not corepattern.writable(), reason="core_pattern is not writable"
)


def has_sockets() -> bool:
    """Can this kernel hand cores to a socket?"""
    return _CORE_MODES.exists() and "socket" in _CORE_MODES.read_text().split()


needs_sockets = pytest.mark.skipif(not has_sockets(), reason="this kernel has no capture sockets")


def _has_connector() -> bool:
    try:
        connector.Connector().close()
    except errors.Unavailable:
        return False
    return True


needs_connector = pytest.mark.skipif(
    not _has_connector(), reason="the kernel's proc connector does not answer here"
)


def handlers(host_dir: Path) -> dict[int, float]:
    """Processes that capture a crash for the installation below `host_dir`: pid and age, s."""
    listens: dict[int, bool] = {}
    stats: dict[int, list[bytes]] = {}
    for directory in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # gone meanwhile
            words = (directory / "cmdline").read_bytes().split(b"\0")
            if b"handle" in words and any(word.startswith(bytes(host_dir)) for word in words):
                listens[int(directory.name)] = b"--listen" in words
                stat = (directory / "stat").read_bytes()
                stats[int(directory.name)] = stat.rpartition(b")")[2].split()  # proc(5), from 3 on
    uptime_s, tick = time.clock_gettime(time.CLOCK_BOOTTIME), os.sysconf("SC_CLK_TCK")
    # A listener's workers are its children, and called as it is.
    return {
        pid: uptime_s - int(stat[19]) / tick
        for pid, stat in stats.items()
        if not listens[pid] or int(stat[1]) in stats
    }


@contextlib.contextmanager
def owning(handler: installed.Installed, mode: str = "pipe", workers: int = 16) -> Iterator[None]:
    """Crashes go to `handler` while the block runs; `workers` at once."""
    with corepattern.borrowed(), contextlib.ExitStack() as stack:
        corepattern.SYSCTLS[1].write_text(str(workers))
        if mode == "socket":
            stack.enter_context(Listener(handler, workers))
            corepattern.SYSCTLS[0].write_text(core_pattern.render_socket(str(handler.host_dir)))
        else:
            corepattern.SYSCTLS[0].write_text(core_pattern.render(str(handler.executable)))
        yield


def crash(handler: installed.Installed, pod: pods.Pod, *command: object) -> Path:
    """The spool entry of `command`'s crash in `pod`, by pipe."""
    with owning(handler):
        pod.start([str(word) for word in command], cwd="/").wait(timeout=60)
    return handler.wait_for_entry()


def read(entry: Path) -> records.CrashRecord:
    """An entry's record, strictly."""
    return records.CrashRecord.parse((entry / "meta.json").read_bytes())


def belongs(crashed: records.CrashRecord, pod: pods.Pod) -> bool:
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


class Listener:
    """`coredumpd handle --listen`, started as the agent does. The block ends when it has drained.

    It restores core_pattern to the pipe handler when `control` closes, so hold `borrowed()`.
    """

    def __init__(
        self, handler: installed.Installed, workers: int, listening: socket.socket | None = None
    ) -> None:
        """`listening`: the socket of a listener that died."""
        self.path = handler.host_dir / host_dirs.CAPTURE_SOCKET
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
