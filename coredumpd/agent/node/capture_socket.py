"""Capture by socket: the listening socket, the listener process, and core_pattern between them.

The listener is the installed handler (`handle --listen`), started on the host, so capturing shares
neither memory nor fate with the agent. The socket is held here as well: when a listener dies, who
waits in its queue waits for the next one. core_pattern names the socket only while a listener has
answered within the last seconds; at every other moment it runs the pipe handler.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import subprocess
from pathlib import Path

from coredumpd import errors
from coredumpd.agent import metrics
from coredumpd.agent.node import host_namespaces, install, sysctls
from coredumpd.formats import core_pattern
from coredumpd.formats import host_dir as host_dirs

CORE_MODES = Path("/proc/sys/kernel/core_modes")  # Linux 6.16
QUEUE_MAX = 4096  # more crashes at once lose their cores; net.core.somaxconn may be lower
ASK_EVERY_S = 2.0
ANSWER_S = 5.0  # a listener that hangs holds up every crash: it is replaced
STOP_S = 5.0  # then the listener drains by itself
RESTART_S_MIN, RESTART_S_MAX = 0.1, 60.0
_ALIVE = b"."
_log = logging.getLogger(__name__)


def problem(host_dir: Path) -> str | None:
    """Why this node cannot capture by socket; None when nothing speaks against trying.

    Older kernels accept any string as core_pattern, so what they accept proves nothing: only the
    kernel's own list of modes does.
    """
    try:
        modes = CORE_MODES.read_text().split()
    except OSError:
        return f"this kernel cannot (there is no {CORE_MODES}; Linux 6.17 is needed)"
    if "socket" not in modes:
        return f"this kernel cannot ({CORE_MODES} lists {', '.join(modes)})"
    if not install.in_first_pid_namespace():
        return "the agent must see the host's processes (hostPID: true)"
    real = host_namespaces.call(os.path.realpath, host_dir)
    if real != str(host_dir):
        return f"the kernel follows no link to its socket, and {host_dir} on the host is {real}"
    return None


class Listening:
    """Runs the listener and points core_pattern at its socket. All of it on the loop."""

    def __init__(
        self, host_dir: Path, settings: sysctls.CoreSysctls, workers: int, counters: metrics.Metrics
    ) -> None:
        self._host_dir = host_dir
        self._path = host_dir / host_dirs.CAPTURE_SOCKET
        self._kernel = settings
        self._pipe = settings.pattern
        self._workers = workers
        self._metrics = counters
        self._listening = self._listen()
        self._listener: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None

    def _listen(self) -> socket.socket:
        """A socket nobody else's crash can meet half made: bound aside, then renamed."""
        made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        aside = self._path.with_suffix(".new")
        with contextlib.suppress(FileNotFoundError):  # the usual case
            aside.unlink()
        made.bind(str(aside))
        aside.chmod(0o600)
        made.listen(QUEUE_MAX)
        aside.rename(self._path)
        return made

    async def start(self) -> None:
        """The first listener, and core_pattern. Raises what the kernel refused."""
        await self._begin()

    async def run(self) -> None:
        """For ever: replace a listener that ends or hangs, the pipe handler standing in."""
        pause_s = RESTART_S_MIN
        while True:
            began = asyncio.get_running_loop().time()
            try:
                await self._attend(self._control or await self._begin())
            except errors.CoredumpdError as error:
                _log.error("capture by socket: %s; the pipe handler stands in", error)
                self._metrics.listener_failures.inc()
                self._end()
            if asyncio.get_running_loop().time() - began > RESTART_S_MAX:
                pause_s = RESTART_S_MIN
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, RESTART_S_MAX)

    async def stop(self) -> None:
        """Hand back, let the listener serve who is queued, and leave it to that after STOP_S."""
        self._hand_back()
        if self._control is not None:
            self._control.close()
            self._control = None
        with contextlib.suppress(FileNotFoundError):  # removed by hand
            self._path.unlink()
        if self._listener is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(STOP_S):
                    while self._listener.poll() is None:
                        await asyncio.sleep(0.05)
            if self._listener.returncode is None:
                _log.info("captures are still running; the listener ends when they have")
        self._listening.close()

    async def _begin(self) -> socket.socket:
        control, theirs = socket.socketpair()
        control.setblocking(False)
        self._control = control
        with theirs:
            self._listener = host_namespaces.call(self._spawn, theirs)
        await _heard(control, ANSWER_S)
        self._kernel.use(core_pattern.render_socket(str(self._host_dir)))
        self._kernel.apply()
        _log.info("core_pattern is %s, listener %d", self._kernel.pattern, self._listener.pid)
        return control

    def _spawn(self, control: socket.socket) -> subprocess.Popen[bytes]:
        program = str(self._host_dir / host_dirs.CURRENT_LAUNCHER)
        words = [program, "handle", "--listen", str(self._workers)]
        try:
            return subprocess.Popen(
                words,
                stdin=self._listening.fileno(),
                stdout=control.fileno(),
                env={},
                cwd="/",
                start_new_session=True,
            )
        except OSError as error:
            raise errors.StorageError(f"cannot start {program}: {error.strerror}") from error

    async def _attend(self, control: socket.socket) -> None:
        """While the listener answers. Raises Unavailable when it does not."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                await loop.sock_sendall(control, _ALIVE)
            except OSError as error:
                raise errors.Unavailable("the listener ended") from error
            await _heard(control, ANSWER_S)
            with contextlib.suppress(TimeoutError):  # nothing to hear between two questions
                async with asyncio.timeout(ASK_EVERY_S):
                    await _heard(control, None)

    def _end(self) -> None:
        """The pipe handler first; then whatever is left of the listener goes."""
        self._hand_back()
        if self._control is not None:
            self._control.close()
            self._control = None
        if self._listener is not None:
            self._listener.kill()
            self._listener.wait()
            self._listener = None

    def _hand_back(self) -> None:
        self._kernel.use(self._pipe)
        try:
            self._kernel.apply()
        except errors.CoredumpdError as error:
            _log.error("core settings: %s", error)  # the guard goes on trying


async def _heard(control: socket.socket, timeout_s: float | None) -> bytes:
    try:
        async with asyncio.timeout(timeout_s):
            heard = await asyncio.get_running_loop().sock_recv(control, 64)
    except TimeoutError as error:
        raise errors.Unavailable(f"the listener said nothing for {timeout_s:g} s") from error
    except OSError as error:
        raise errors.Unavailable("the listener ended") from error
    if not heard:
        raise errors.Unavailable("the listener ended")
    return heard
