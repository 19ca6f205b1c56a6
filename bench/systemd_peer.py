"""systemd-coredump as Debian packages it, run without systemd as PID 1 and without installing it.

Its package's maintainer script would set core_pattern of the machine, so the package is downloaded
and unpacked below build/. What the kernel runs hands the core to a socket; behind that this module
does what systemd's socket unit does: one process of it for each connection, with its configuration
and its directory of cores in a mount namespace of its own.
"""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

_UNPACKED = Path(__file__).parent.parent / "build" / "systemd-coredump"
_SOCKET = Path("/run/systemd/coredump")
_ARRIVES_S, _STORED_S = 60.0, 600.0
# Compressed and on the disk, no stack trace, no limit that it could meet.
_CONFIGURATION = """[Coredump]
Storage=external
Compress=yes
ProcessSizeMax=0
ExternalSizeMax=32G
MaxUse=64G
KeepFree=1G
"""
# In a mount namespace: $1 configuration, $2 state. The socket is standard input until exec.
_RECEIVE = """
mount --bind "$1" /etc/systemd && mount --bind "$2" /var/lib/systemd || exit
export LISTEN_FDS=1 LISTEN_PID=$$
exec "$3" 3<&0 </dev/null
"""


class Missing(Exception):
    """It cannot run here; the message says why."""


class Peer:
    """A receiver of one core at a time; `line` is the core_pattern that leads to it."""

    def __init__(self, directory: Path, listener: socket.socket) -> None:
        program = _unpacked()
        self._listener = listener
        self._configuration, self._state = directory / "etc", directory / "state"
        self._cores = self._state / "coredump"
        self._configuration.mkdir(parents=True)
        self._cores.mkdir(parents=True)
        (self._configuration / "coredump.conf").write_text(_CONFIGURATION)
        self._log = directory / "log"
        # The kernel gives a helper no environment, and its RUNPATH names the system's libraries.
        self._script = directory / "helper"
        libraries = next(_UNPACKED.rglob("libsystemd-shared-*.so")).parent
        self._script.write_text(f'#!/bin/sh\nLD_LIBRARY_PATH={libraries} exec {program} "$@"\n')
        self._script.chmod(0o755)
        conf = next(_UNPACKED.rglob("sysctl.d/50-coredump.conf")).read_text()
        setting = next(
            line for line in conf.splitlines() if line.startswith("kernel.core_pattern=")
        )
        self.line = f"|{self._script} {setting.partition(' ')[2]}"

    def receive(self) -> None:
        """Take the core that the kernel's helper hands over; returns when the receiver has exited.

        Until then the crash waits. Raises Missing.
        """
        try:
            connection, _ = self._listener.accept()
        except TimeoutError:
            raise Missing("the kernel's helper did not connect to its socket") from None
        command = ["unshare", "--mount", "sh", "-c", _RECEIVE, "sh"]
        with connection, self._log.open("ab") as log:
            subprocess.run(
                [*command, self._configuration, self._state, self._script],
                stdin=connection,
                stdout=log,
                stderr=log,
                timeout=_STORED_S,
                check=False,
            )

    def take(self) -> int:
        """Bytes of the core stored, which is removed; raises Missing if there is none."""
        cores = list(self._cores.iterdir())
        stored = sum(core.stat().st_size for core in cores)
        for core in cores:
            core.unlink()
        if not stored:
            last_line = self._log.read_text(errors="replace").strip().splitlines()[-1:]
            raise Missing(f"it stored nothing and said {last_line}; see also the kernel's log")
        return stored


@contextlib.contextmanager
def running(directory: Path) -> Iterator[Peer]:
    """Raises Missing if it cannot run here."""
    if _SOCKET.exists():
        raise Missing(f"{_SOCKET} is there already: systemd serves it")
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.settimeout(_ARRIVES_S)
        _SOCKET.parent.mkdir(exist_ok=True)
        listener.bind(str(_SOCKET))
        try:
            _SOCKET.chmod(0o600)
            listener.listen()
            yield Peer(directory, listener)
        finally:
            _SOCKET.unlink()


def _unpacked() -> Path:
    """The program, downloaded if it is not there."""
    program = _UNPACKED / "lib/systemd/systemd-coredump"
    for tool in ("apt-get", "dpkg-deb", "unshare"):
        if shutil.which(tool) is None:
            raise Missing(f"there is no {tool}")
    if not program.exists():
        _UNPACKED.mkdir(parents=True, exist_ok=True)
        command = ["apt-get", "download", "-qq", "systemd-coredump", "libsystemd-shared"]
        done = subprocess.run(command, cwd=_UNPACKED, capture_output=True, text=True, check=False)
        if done.returncode:
            raise Missing(f"apt-get download: {done.stderr.strip().splitlines()[-1:]}")
        for package in sorted(_UNPACKED.glob("*.deb")):
            subprocess.run(["dpkg-deb", "-x", package, _UNPACKED], check=True)
    return program
