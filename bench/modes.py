"""Pipe and socket side by side: crash to first byte, a small core, a large one, a storm.

A capture has begun, a while after its first byte was read, when its `.part` appears. The first byte
on a socket is timed by the worker itself. Times are lower quartiles: other work on the machine only
adds to them. ARCHITECTURE.md draws the conclusion for `capture: auto`.
"""

from __future__ import annotations

import contextlib
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from support import crashers
from support.node import capturing, corepattern, installed, pods

from bench import report

NEEDS = ("dist/coredumpd", "gcc")
TIMING = """
import os, socket, sys, time
from coredumpd.formats import policy
from coredumpd.handler import capture
from coredumpd.handler.evidence import process
from coredumpd.handler.socket import handshake, listener, peer
def serve(connection, host_dir):
    peer.crash(connection)
    handshake.accept(connection)
    os.read(connection, 65536)
    now = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
    with open(sys.argv[1], "w") as file:
        file.write(str(now))
    os.close(connection)
listener.serve = serve
control, theirs = socket.socketpair()
listener.Listener(socket.socket(fileno=0), control.fileno(), 16, "/nowhere").run()
"""
ROUNDS = 15
LARGE_ROUNDS = 3
LARGE_BYTES = 512 * 1024 * 1024
STORM, STORM_BYTES = 100, 1024 * 1024
FIRST_BYTE_S = 0.005
CRASHER = """
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
int main(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    printf("%lld\\n", now.tv_sec * 1000000000LL + now.tv_nsec);
    fflush(stdout);
    abort();
}
"""


def run() -> Iterator[report.Line]:
    if not corepattern.writable():
        yield report.skipped("modes", "core_pattern is not writable here")
        return
    if not capturing.has_sockets():
        yield report.skipped("modes", "this kernel has no capture sockets")
        return
    with tempfile.TemporaryDirectory(prefix="cd-") as name:
        directory = Path(name)
        (directory / "timed.c").write_text(CRASHER)
        timed = str(directory / "timed")
        subprocess.run(["gcc", "-static", "-o", timed, timed + ".c"], check=True)
        large = str(crashers.compiled("crasher", directory))
        results = {
            mode: measured(directory / mode, mode, timed, large) for mode in ("pipe", "socket")
        }
        first = quartile(first_bytes(directory, timed))
    yield report.Line(
        "modes crash to first byte, socket, of 5 ms",
        f"{first * 1000:.2f} ms",
        first / FIRST_BYTE_S,
        at_most=1,
    )
    for what in results["pipe"]:
        pipe, other = results["pipe"][what], results["socket"][what]
        yield report.Line(f"modes {what}, pipe", f"{pipe:.4g}")
        yield report.Line(f"modes {what}, socket", f"{other:.4g}", other / pipe)


def measured(directory: Path, mode: str, timed: str, large: str) -> dict[str, float]:
    """Each quantity's name and value: seconds, or a count."""
    directory.mkdir()
    handler = installed.Installed(directory / "h", "frozen")
    runtime = directory / "runtime"
    handler.policy(runtimeStateDirs=[str(runtime)])
    handler.spool.mkdir(mode=0o700)
    with pods.running(runtime) as pod, capturing.owning(handler, mode):
        for _ in range(2):
            begun_and_over(handler, pod, timed)  # warm
        small = [begun_and_over(handler, pod, timed) for _ in range(ROUNDS)]
        big = [reaped_s(pod, [large, "abort", "0", str(LARGE_BYTES)]) for _ in range(LARGE_ROUNDS)]
        before = len(handler.entries())
        begun = time.monotonic()
        storm = [pod.start([large, "abort", "0", str(STORM_BYTES)], cwd="/") for _ in range(STORM)]
        for process in storm:
            process.wait()
        storm_s = time.monotonic() - begun
        time.sleep(1)  # the last worker's fsync
        kept = len(handler.entries()) - before
    return {
        "crash to capture begun, s": quartile([begun for begun, _ in small]),
        "small core, crash to reaped, s": quartile([over for _, over in small]),
        f"{LARGE_BYTES >> 20} MiB heap, start to reaped, s": quartile(big),
        f"storm of {STORM}, start to last reaped, s": storm_s,
        f"storm of {STORM}, cores kept": kept,
    }


def begun_and_over(handler: installed.Installed, pod: pods.Pod, timed: str) -> tuple[float, float]:
    """Seconds from the crash until its capture is there, and until its process is reaped."""
    before = ids(handler)
    process = pod.start([timed], cwd="/", stdout=subprocess.PIPE)
    with contextlib.closing(process.stdout):
        crashed = int(process.stdout.readline()) / 1e9
    while not ids(handler) - before:
        pass  # a busy loop for a few milliseconds is what the measurement costs
    seen = time.monotonic()
    process.wait()
    return seen - crashed, time.monotonic() - crashed


def ids(handler: installed.Installed) -> set[str]:
    return {name.removesuffix(".part") for name in os.listdir(handler.spool)}


def reaped_s(pod: pods.Pod, command: list[str]) -> float:
    begun = time.monotonic()
    pod.start(command, cwd="/").wait()
    return time.monotonic() - begun


def quartile(times: list[float]) -> float:
    return statistics.quantiles(times, n=4)[0]


def first_bytes(directory: Path, timed: str) -> list[float]:
    """Seconds from crash to first byte, by the listener's own steps in a process of this bench."""
    path, seen = f"{directory}/capture.sock", directory / "seen"
    with corepattern.borrowed(), socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
        listening.bind(path)
        listening.listen()
        words = [sys.executable, "-c", TIMING, str(seen)]
        with subprocess.Popen(
            words, cwd=installed.ROOT, stdin=listening, stdout=subprocess.DEVNULL
        ) as process:
            corepattern.SYSCTLS[0].write_text(f"@@{path}")
            times = []
            for _ in range(2 * ROUNDS):
                crash = subprocess.run([timed], stdout=subprocess.PIPE, check=False)
                times.append(int(seen.read_text()) / 1e9 - int(crash.stdout) / 1e9)
            process.kill()
    return times
