"""200 processes of 64 MiB crash within a second, by pipe and by socket: what becomes of each.

Kept, or in the kernel's log as skipped.
"""

from __future__ import annotations

import collections
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from support import capturing, crashers, installed, pods

from bench import report
from coredumpd.agent import skipped

CRASHES, HEAP_BYTES = 200, 64 * 1024 * 1024
MORE = 24  # 8 over the limit: the first tells what was kept back, and all fit in the 10 lines
ASLEEP_S = 8.0  # until all have started and filled their heap
SETTLE_S = 5.5  # the kernel's rate limit on its log
DEADLINE_S = 240.0


def run() -> Iterator[report.Line]:
    for mode in capturing.MODES:
        with tempfile.TemporaryDirectory(prefix="cd-") as name:
            yield from measured(Path(name), mode)


def measured(directory: Path, mode: str) -> Iterator[report.Line]:
    program = crashers.compiled("crasher", directory)
    handler = installed.Installed(directory / "h", "frozen")
    handler.policy(runtimeStateDirs=[str(directory / "runtime")])
    kmsg = os.open(skipped.KMSG, os.O_RDONLY | os.O_NONBLOCK)
    os.lseek(kmsg, 0, os.SEEK_END)
    with pods.running(directory / "runtime") as pod, capturing.owning(handler, mode):
        begun = time.monotonic()
        storm = []
        for _ in range(CRASHES):
            left_s = max(0.0, ASLEEP_S - (time.monotonic() - begun))
            storm.append(pod.start([program, "abort", f"{left_s:.3f}", str(HEAP_BYTES)], cwd="/"))
        slowest = 0.0
        while any(process.poll() is None for process in storm):
            before = time.monotonic()
            time.sleep(0.05)
            slowest = max(slowest, time.monotonic() - before - 0.05)
        taken_s = time.monotonic() - begun - ASLEEP_S
        time.sleep(SETTLE_S)
        for process in [pod.start([program, "abort", "0.5"], cwd="/") for _ in range(MORE)]:
            process.wait()
        lost: collections.Counter[str] = collections.Counter()
        kept = 0
        end = time.monotonic() + DEADLINE_S / 4
        while kept + lost.total() < CRASHES + MORE and time.monotonic() < end:
            for reason, count in skipped.read(kmsg):
                lost[reason] += count
            kept = len(handler.entries())
            time.sleep(0.1)
    os.close(kmsg)
    yield report.Line(f"storm {mode}, until the last process was gone", f"{taken_s:.1f} s")
    yield report.Line(f"storm {mode}, slowest turn of a sleeper", f"{slowest * 1000:.0f} ms")
    yield report.Line(f"storm {mode}, kept", f"{kept} of {CRASHES + MORE}")
    yield report.Line(f"storm {mode}, skipped and said so", f"{dict(lost)}")
    share = (kept + lost.total()) / (CRASHES + MORE)
    # By pipe the kernel carries lines it kept back from burst to burst, earlier runs' too: a share
    # can miss 1 either way, so only the socket, which loses nothing, has a bar.
    bar = 1 if mode == "socket" else None
    yield report.Line(f"storm {mode}, accounted for", f"{share:.1%}", share, at_least=bar)
