"""A FUSE file system that stops to answer: whoever opens or stats a file of it waits for ever."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

DEADLINE_S = 10.0


@contextlib.contextmanager
def mounted(directory: Path, program: Path) -> Iterator[tuple[Path, Callable[[], None]]]:
    """A copy of `program` on such a file system, and the function that makes it hang."""
    if shutil.which("bindfs") is None:
        pytest.skip("A FILE SYSTEM THAT HANGS IS NOT TESTED: bindfs is not installed")
    source, mount = directory / "source", directory / "mount"
    source.mkdir()
    mount.mkdir()
    shutil.copy(program, source)
    # Without caches in the kernel, so that each look goes to the server.
    options = "attr_timeout=0,entry_timeout=0,negative_timeout=0"
    server = subprocess.Popen(["bindfs", "-f", "-o", options, source, mount])
    try:
        end = time.monotonic() + DEADLINE_S
        while not os.path.ismount(mount):
            assert server.poll() is None, "bindfs ended"
            assert time.monotonic() < end, "bindfs does not mount"
            time.sleep(0.02)
        copy = mount / program.name

        def hang() -> None:
            copy.read_bytes()  # its pages stay in memory: the program can run on, and be dumped
            server.send_signal(signal.SIGSTOP)

        yield copy, hang
    finally:
        # Killed, it lets go of everybody who waits for it.
        server.kill()
        server.wait()
        subprocess.run(["umount", "--lazy", mount], check=True)
