"""From fork to the first byte read from stdin: the handler as installed, and a bare interpreter.

The pipe is full before the program starts, so the first read is seen as room to write.
"""

from __future__ import annotations

import os
import select
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from support.node import installed

from bench import report

NEEDS = ("dist/coredumpd", "/usr/bin/python3")
ROUNDS = 60
BAR = 2.2
BARE = ["/usr/bin/python3", "-I", "-S", "-c", "import os; os.read(0, 65536)"]


def run() -> Iterator[report.Line]:
    with tempfile.TemporaryDirectory(prefix="cd-") as directory:
        handler = installed.Installed(Path(directory) / "h", "frozen")
        victim = subprocess.Popen(["sleep", "600"])
        try:
            ours = [str(handler.executable), "handle", *installed.arguments(victim)]
            times = [(first_read_s(BARE), first_read_s(ours)) for _ in range(ROUNDS)]
        finally:
            victim.kill()
            victim.wait()
    bare, frozen = (statistics.median(column) for column in zip(*times, strict=True))
    yield report.Line("handler_start python -I -S", f"{bare * 1000:.1f} ms")
    yield report.Line("handler_start", f"{frozen * 1000:.1f} ms", frozen / bare, at_most=BAR)


def first_read_s(command: list[str]) -> float:
    """Seconds from fork to the first read of a pipe that was full before."""
    source, into = os.pipe()
    os.set_blocking(into, False)
    try:
        while True:
            os.write(into, bytes(4096))
    except BlockingIOError:
        pass  # full, as intended
    poll = select.poll()
    poll.register(into, select.POLLOUT)
    null = subprocess.DEVNULL
    begun = time.perf_counter()
    process = subprocess.Popen(command, stdin=source, env={}, stdout=null, stderr=null)
    poll.poll()
    taken = time.perf_counter() - begun
    os.close(source)
    os.close(into)
    process.wait()
    return taken
