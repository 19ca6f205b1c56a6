"""`coredumpd handle --listen WORKERS`: the kernel connects instead of running us (Linux 6.17).

The agent starts this program on the host, with a listening socket as standard input and one end of
a socket pair as standard output. Each connection is one crash and gets one forked worker, which
does what the pipe handler does: an attacker's bytes meet a process of their own, with a deadline.
It is the worker that accepts: whoever kills the listener, at whatever moment, leaves a connection
in the queue or with a worker. The listener itself never blocks and sees no connection.

When the agent's end of the pair closes, however the agent died, core_pattern is handed back to the
pipe handler, queued crashes are served, and the listener ends.

Tested in: tests/integration/capture/test_socket.py
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # as in main
import _socket
import json  # noqa: F401  # the workers need it; loaded once, here
import os
import select
import time

from coredumpd import errors
from coredumpd.formats import core_pattern, kernel_log
from coredumpd.formats import host_dir as host_dirs
from coredumpd.handler import capture, crash, own_cgroup  # all that the workers need, once
from coredumpd.handler.sandbox import enter
from coredumpd.handler.socket import handshake, peer

LISTENING, CONTROL = 0, 1  # descriptors the agent hands over
ALIVE = b"."  # said once when ready, then in answer to each byte of the agent's
WORKERS_MAX = 4096
DRAIN_S = 1.0  # a crash that read the old core_pattern has connected by then
CORE_PATTERN = "/proc/sys/kernel/core_pattern"


def main(words: list[str], host_dir: str) -> int:
    """Listen until the agent is gone and the queue is empty. Raises UsageError."""
    if len(words) != 1 or not words[0].isdecimal() or not 0 < int(words[0]) <= WORKERS_MAX:
        raise errors.UsageError(f"--listen: give the number of workers, 1 to {WORKERS_MAX}")
    try:
        listening = _socket.socket(fileno=LISTENING)
        _socket.socket(fileno=CONTROL).detach()
    except OSError as error:
        raise errors.UsageError(
            "--listen: standard input and output must be sockets: the agent starts this"
        ) from error
    Listener(listening, CONTROL, int(words[0]), host_dir).run()
    return 0


class Listener:
    """The accept loop; single-threaded, so that forking it is sound."""

    def __init__(
        self, listening: _socket.socket, control: int, workers_max: int, host_dir: str
    ) -> None:
        self._listening = listening
        self._control = control
        self._workers_max = workers_max
        self._host_dir = host_dir
        self._workers: dict[int, int] = {}  # pidfd to pid
        self._accepting: int | None = None  # a pipe's end: closed once the newest has accepted
        self._quiet_since: float | None = None  # set, on the monotonic clock, while draining

    def run(self) -> None:
        """Serve until handed back and drained."""
        # A container's stop signals everything in it; we end when the agent has, and drain first.
        for number in (_signal.SIGTERM, _signal.SIGINT):
            _signal.signal(number, _signal.SIG_IGN)
        self._listening.setblocking(False)
        enter.hide_memory()  # its own core would wait for itself to be accepted
        _leave_the_pods_cgroup()
        own_cgroup.enter(self._host_dir)
        os.write(self._control, ALIVE)
        while not self._drained():
            for descriptor in self._ready():
                if descriptor in self._workers:
                    os.close(descriptor)
                    os.waitpid(self._workers.pop(descriptor), 0)
                    self._stir()
                elif descriptor == self._control:
                    self._hear_agent()
                elif descriptor == self._accepting:
                    os.close(descriptor)
                    self._accepting = None
                else:
                    self._start_worker()

    def _ready(self) -> list[int]:
        poll = select.poll()
        for pidfd in self._workers:
            poll.register(pidfd, select.POLLIN)
        if self._accepting is not None:
            poll.register(self._accepting, select.POLLIN)
        elif len(self._workers) < self._workers_max:  # the others wait in the kernel's queue
            poll.register(self._listening.fileno(), select.POLLIN)
        if self._quiet_since is None:
            poll.register(self._control, select.POLLIN)
            return [descriptor for descriptor, _ in poll.poll()]
        return [descriptor for descriptor, _ in poll.poll(DRAIN_S * 1000)]

    def _drained(self) -> bool:
        quiet_since = self._quiet_since
        return (
            quiet_since is not None
            and not self._workers
            and time.monotonic() - quiet_since >= DRAIN_S
        )

    def _stir(self) -> None:
        """Something was going on: begin the quiet that ends draining anew."""
        if self._quiet_since is not None:
            self._quiet_since = time.monotonic()

    def _hear_agent(self) -> None:
        try:
            heard = os.read(self._control, 64)
            os.write(self._control, heard)
        except OSError:
            heard = b""  # reset: the agent died with our answer unread
        if not heard:
            hand_back(self._host_dir)
            self._quiet_since = time.monotonic()

    def _start_worker(self) -> None:
        """Somebody is in the queue."""
        self._stir()
        self._accepting, accepted = os.pipe()
        try:
            pid = os.fork()
        except OSError as error:
            problem = f"cannot start a worker: {error.strerror}"
            kernel_log.write(kernel_log.ERROR, kernel_log.not_stored(None, problem))
            os.close(accepted)
            self._refuse()
            return
        if pid == 0:
            self._work(accepted)
        os.close(accepted)
        self._workers[os.pidfd_open(pid)] = pid

    def _refuse(self) -> None:
        """Take it from the queue all the same: it would be there again at once."""
        try:
            os.close(self._accept())
        except OSError:
            return  # gone by itself

    def _accept(self) -> int:
        """The connection. Raises OSError when there is none: it was killed while it waited."""
        connection, _ = self._listening._accept()  # type: ignore[attr-defined]
        return int(connection)

    def _work(self, accepted: int) -> None:
        """In the child: one crash, then exit. The parent's descriptors are closed first."""
        try:
            connection = self._accept()
            os.close(accepted)
            null = os.open(os.devnull, os.O_RDWR)
            for descriptor in (LISTENING, CONTROL):
                os.dup2(null, descriptor)
            for pidfd in self._workers:
                os.close(pidfd)
            serve(connection, self._host_dir)
        finally:
            os._exit(0)


def serve(connection: int, host_dir: str) -> None:
    """One connection of the kernel's, from its first word to the stored core.

    Raises nothing: what kept the crash from being stored is in the kernel's log. The process ends
    after this, and so `connection`.
    """
    pid, begun = None, None
    try:
        crash.set_deadline(crash.DEFAULT_TIMEOUT_S)
        args = peer.crash(connection)
        pid = args.pid
        handshake.accept(connection)
        begun = crash.begin(connection, args, host_dir, "socket")
        capture.run(begun)
    except Exception as error:  # noqa: BLE001 (the last line of defence, as in main)
        problem = f"{type(error).__name__}: {error}"
        container = begun.container_id if begun is not None else None
        kernel_log.write(kernel_log.ERROR, kernel_log.not_stored(pid, problem, container))


def hand_back(host_dir: str) -> None:
    """Let the kernel run the pipe handler again, unless core_pattern is somebody else's by now."""
    pipe = core_pattern.render(f"{host_dir}/{host_dirs.CURRENT_LAUNCHER}")
    try:
        descriptor = os.open(CORE_PATTERN, os.O_RDWR | os.O_CLOEXEC)
        try:
            value = os.read(descriptor, 256).decode("utf-8", "replace").rstrip("\n")
            if value == core_pattern.render_socket(host_dir):
                os.pwrite(descriptor, pipe.encode() + b"\n", 0)
                kernel_log.write(
                    kernel_log.WARNING,
                    "the agent is gone: core_pattern runs the pipe handler again",
                )
        finally:
            os.close(descriptor)
    except OSError as error:
        kernel_log.write(
            kernel_log.ERROR, f"cannot hand core_pattern back: {error.strerror}; crashes are lost"
        )


def _leave_the_pods_cgroup() -> None:
    """Move to the root of every hierarchy, where the kernel's own helpers, so pipe handlers, run.

    Otherwise the end of the agent's pod, or its memory limit, would end captures, and what they
    write would be charged to it (cgroups(7)). Where it is refused, that is how it is.
    """
    with open("/proc/self/mounts", "rb") as mounts:
        fields = [line.split(b" ") for line in mounts]
    for mount in fields:
        if mount[2] in (b"cgroup", b"cgroup2"):
            path = mount[1] + b"/cgroup.procs"
            try:
                descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
                try:
                    os.write(descriptor, b"0")
                finally:
                    os.close(descriptor)
            except OSError as error:
                cgroup = path.decode("utf-8", "backslashreplace")
                kernel_log.write(kernel_log.WARNING, f"cannot move to {cgroup}: {error.strerror}")
