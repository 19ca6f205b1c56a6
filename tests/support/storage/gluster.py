"""A real GlusterFS volume of one brick, mounted through FUSE, for the store's tests.

glusterd refuses a brick on a loopback name, so the brick is on the host's own name, while every
socket is bound to 127.0.0.1. It has one port and one CLI socket of its own per machine.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from pathlib import Path

from support import waiting

PACKAGES = "glusterfs-server glusterfs-client"
_COMMAND_S = 60


def missing() -> str | None:
    """Why GlusterFS cannot run here; None if it can."""
    absent = [name for name in ("glusterd", "gluster", "glusterfs") if shutil.which(name) is None]
    if absent:
        return f"{', '.join(absent)} not installed (Debian packages: {PACKAGES})"
    try:
        loopback = socket.gethostbyname(socket.gethostname()).startswith("127.")
    except OSError:
        loopback = False
    if not loopback:
        return "the host's own name does not resolve to a loopback address"
    if not os.path.exists("/dev/fuse"):
        return "this kernel has no FUSE"
    return None if os.geteuid() == 0 else "not root"


class Gluster:
    """A volume below `directory`, mounted at `mounted`."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.mounted = directory / "mnt"
        self._children: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Gluster:
        for name in ("work", "run", "brick", "mnt"):
            (self.directory / name).mkdir()
        volfile = self.directory / "glusterd.vol"
        volfile.write_text(
            f"""\
volume management
    type mgmt/glusterd
    option working-directory {self.directory}/work
    option run-directory {self.directory}/run
    option transport-type socket
    option transport.address-family inet
    option transport.socket.bind-address 127.0.0.1
    option ping-timeout 0
end-volume
"""
        )
        self._daemon("glusterd", "-N", "-f", volfile, "-l", self.directory / "glusterd.log")
        waiting.until(
            "glusterd answers", lambda: not self._gluster("volume", "list").returncode, 30
        )
        brick = f"{socket.gethostname()}:{self.directory}/brick"
        for words in (("create", "cores", brick, "force"), ("start", "cores")):
            done = self._gluster("volume", *words)
            if done.returncode:
                raise waiting.Failed(f"gluster volume {words}: {done.stderr}{done.stdout}")
        server = ("--volfile-server=127.0.0.1", "--volfile-id=cores")
        log = ("-l", self.directory / "client.log")
        self._daemon("glusterfs", "-N", *server, *log, self.mounted)
        waiting.until("GlusterFS is mounted", lambda: os.path.ismount(self.mounted), 30)
        return self

    def __exit__(self, *_: object) -> None:
        subprocess.run(["umount", "-l", str(self.mounted)], check=False)
        self._gluster("volume", "stop", "cores", "force")  # ends the brick's process
        for child in reversed(self._children):
            child.terminate()
            try:
                child.wait(10)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()

    def _gluster(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["gluster", "--mode=script", *words],
            capture_output=True,
            text=True,
            timeout=_COMMAND_S,
            check=False,
        )

    def _daemon(self, *words: object) -> None:
        self._children.append(
            subprocess.Popen(
                [str(word) for word in words],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        )
