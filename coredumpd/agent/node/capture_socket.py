"""Capture by socket: the listening socket, the listener process, and core_pattern between them.

The listener is the installed handler (`handle --listen`), started on the host, so capturing shares
neither memory nor fate with the agent. The socket is held here as well: when a listener dies, the
crashes in its queue wait for the next one. core_pattern names the socket only while a listener has
answered within the last seconds; at every other moment it runs the pipe handler.

Tested in: tests/integration/agent/test_capture_socket.py
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import subprocess
from pathlib import Path

from coredumpd import aiokit, errors
from coredumpd.agent import tally
from coredumpd.agent.node import host_namespaces, install, sysctls
from coredumpd.formats import core_pattern
from coredumpd.formats import host_dir as host_dirs

CORE_MODES = Path("/proc/sys/kernel/core_modes")  # Linux 6.16
QUEUE_MAX = 4096  # more crashes at once lose their cores; net.core.somaxconn may be lower
ASK_EVERY_S = 2.0
ANSWER_S = 5.0  # a listener that hangs holds up every crash: it is replaced
STOP_S = 5.0  # then the listener finishes by itself
RESTART_S_MIN, RESTART_S_MAX = 0.1, 60.0
_ALIVE = b"."
_log = logging.getLogger(__name__)


def problem(host_dir: Path) -> str | None:
    """Why this node cannot capture by socket; None when it seems possible.

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


def require(host_dir: Path) -> None:
    """Raises SettingsError when this node cannot capture by socket."""
    obstacle = problem(host_dir)
    if obstacle is not None:
        cause = errors.Cause("agent.capture", "socket", obstacle)
        raise errors.SettingsError("the configuration does not fit this node:", (cause,))


class CaptureSocket:
    """Runs the listener and points core_pattern at its socket. Belongs to the event loop."""

    def __init__(
        self,
        host_dir: Path,
        core_sysctls: sysctls.CoreSysctls,
        workers: int,
        counters: tally.Tally,
    ) -> None:
        self._host_dir = host_dir
        self._path = host_dir / host_dirs.CAPTURE_SOCKET
        self._sysctls = core_sysctls
        self._pipe = core_sysctls.pattern
        self._workers = workers
        self._tally = counters
        self._socket = self._listen()
        self._listener: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._job: asyncio.Task[None] | None = None

    def _listen(self) -> socket.socket:
        """Bind under another name, then rename: no crash meets a socket that does not listen."""
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        aside = self._path.with_suffix(".new")
        with contextlib.suppress(FileNotFoundError):  # the usual case
            aside.unlink()
        listening.bind(str(aside))
        aside.chmod(0o600)
        listening.listen(QUEUE_MAX)
        aside.rename(self._path)
        return listening

    async def start(self) -> None:
        """Start the first listener, set core_pattern. Raises what the kernel refused."""
        await self._begin()

    async def run(self) -> None:
        """Replace, for ever, a listener that ends or hangs; meanwhile the pipe handler captures."""
        self._job = asyncio.current_task()
        backoff = aiokit.Backoff(RESTART_S_MIN, RESTART_S_MAX, jitter=0.0)
        while True:
            began = asyncio.get_running_loop().time()
            try:
                await self._attend(self._control or await self._begin())
            except errors.CoredumpdError as error:
                _log.error("capture by socket: %s; the pipe handler stands in", error)
                self._tally.listener_failures.inc()
                self._end()
            if asyncio.get_running_loop().time() - began > RESTART_S_MAX:
                backoff.reset()
            await asyncio.sleep(backoff.next())

    async def stop(self) -> None:
        """Return to the pipe handler; give the listener STOP_S to serve queued crashes."""
        if self._job is not None:
            self._job.cancel()
            await asyncio.wait([self._job])
        self._use_pipe()
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
        self._socket.close()

    async def _begin(self) -> socket.socket:
        control, theirs = socket.socketpair()
        control.setblocking(False)
        self._control = control
        with theirs:
            self._listener = host_namespaces.call(self._spawn, theirs)
        await _receive(control, ANSWER_S)
        self._sysctls.use(core_pattern.render_socket(str(self._host_dir)))
        self._sysctls.apply()
        _log.info("core_pattern is %s, listener %d", self._sysctls.pattern, self._listener.pid)
        return control

    def _spawn(self, control: socket.socket) -> subprocess.Popen[bytes]:
        program = str(self._host_dir / host_dirs.CURRENT_LAUNCHER)
        words = [program, "handle", "--listen", str(self._workers)]
        try:
            return subprocess.Popen(
                words,
                stdin=self._socket.fileno(),
                stdout=control.fileno(),
                env={},
                cwd="/",
                start_new_session=True,
            )
        except OSError as error:
            raise errors.StorageError(f"cannot start {program}: {error.strerror}") from error

    async def _attend(self, control: socket.socket) -> None:
        """Ask the listener, again and again. Raises Unavailable when it does not answer."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                await loop.sock_sendall(control, _ALIVE)
            except OSError as error:
                raise errors.Unavailable("the listener ended") from error
            await _receive(control, ANSWER_S)
            with contextlib.suppress(TimeoutError):  # the usual case: it sends nothing unasked
                async with asyncio.timeout(ASK_EVERY_S):
                    await _receive(control, None)

    def _end(self) -> None:
        """Return to the pipe handler first; then end the listener."""
        self._use_pipe()
        if self._control is not None:
            self._control.close()
            self._control = None
        if self._listener is not None:
            self._listener.kill()
            self._listener.wait()
            self._listener = None

    def _use_pipe(self) -> None:
        self._sysctls.use(self._pipe)
        try:
            self._sysctls.apply()
        except errors.CoredumpdError as error:
            _log.error("core settings: %s", error)  # the guard goes on trying


async def _receive(control: socket.socket, timeout_s: float | None) -> bytes:
    try:
        async with asyncio.timeout(timeout_s):
            received = await asyncio.get_running_loop().sock_recv(control, 64)
    except TimeoutError as error:
        raise errors.Unavailable(f"the listener said nothing for {timeout_s:g} s") from error
    except OSError as error:
        raise errors.Unavailable("the listener ended") from error
    if not received:
        raise errors.Unavailable("the listener ended")
    return received
