"""A 2 GiB core of a process with a real heap, from the kernel to the disk, by each contender.

Each is the core_pattern helper for the same process: a parent builds the heap once, and a forked
child of it crashes for each contender. Wall time is from the fork until the child is reaped: the
kernel waits for a helper that has the pipe open, and the peers end with a sync. Ours lets the
process go before that, so it is also waited for until its entry is complete. Ratios are the medians
of ratios within one round.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from support import corepattern, installed

from bench import report
from coredumpd import pattern

ROUNDS = 3
GIB = 1024**3

# Prints "ready", then forks a child that aborts for each line it reads; prints the seconds taken.
_CRASHER = """
import gc, mmap, os, random, signal, sys, time
rng = random.Random(7)
heap = []
for number in range(1_950_000):
    heap.append({"id": number, "price": rng.random(), "name": f"customer {number * 7919 % 1000003}",
                 "tags": ["red", str(number)], "raw": rng.randbytes(16)})
text = [("lorem ipsum dolor sit amet %d " % number) * 20 for number in range(360_000)]
zero = mmap.mmap(-1, 480 << 20)
touched = bytearray(360 << 20)
gc.collect(); gc.freeze(); gc.disable()
print("ready", flush=True)
for line in sys.stdin:
    begun = time.perf_counter()
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGABRT, signal.SIG_DFL)
        os.abort()
    _, status = os.waitpid(child, 0)
    print(time.perf_counter() - begun, os.WTERMSIG(status), flush=True)
"""

_HELPERS = {
    "cat >/dev/null": "exec cat >/dev/null",
    "dd": "exec dd of={out} bs=1M conv=fsync status=none",
    "zstd -1": "zstd -q -1 -f -o {out} && exec sync {out}",
    "gzip -1": "gzip -1 > {out} && exec sync {out}",
}


def run() -> Iterator[report.Line]:
    if not corepattern.writable():
        yield report.Line("capture: core_pattern is not writable here", "skipped")
        return
    # On a disk, not in /tmp, which may be memory.
    with tempfile.TemporaryDirectory(prefix="cd-", dir="/var/lib") as directory:
        yield from _run(Path(directory))


def _run(directory: Path) -> Iterator[report.Line]:
    handler = installed.Installed(directory / "h", "frozen")
    handler.policy(hostCrashes="store")
    patterns = {}
    for name, body in _HELPERS.items():
        if shutil.which(name.split()[0]):
            patterns[name] = _helper(directory, name, body)
        else:
            yield report.skipped(f"capture by {name}", "it is not installed")
    # Its helper hands the core to whoever listens on /run/systemd/coredump, elsewhere PID 1. Its
    # package must not be installed for this: the maintainer script sets core_pattern.
    yield report.skipped("capture by systemd-coredump", "no receiver is set up for its socket")
    patterns["coredumpd"] = pattern.render(str(handler.executable))
    crasher = subprocess.Popen(
        [sys.executable, "-c", _CRASHER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert crasher.stdin is not None
    assert crasher.stdout is not None
    stored: dict[str, int] = {}
    times: dict[str, list[float]] = {name: [] for name in patterns}
    size = 0
    try:
        assert crasher.stdout.readline() == "ready\n"
        with corepattern.borrowed():
            corepattern.SYSCTLS[1].write_text("16")
            for number in range(ROUNDS):
                for name, line in patterns.items():
                    if name == "gzip -1" and number:
                        continue  # half a minute each
                    corepattern.SYSCTLS[0].write_text(line)
                    crasher.stdin.write("\n")
                    crasher.stdin.flush()
                    taken_s = float(crasher.stdout.readline().split()[0])
                    reaped = time.perf_counter()
                    stored[name] = _bytes(directory / "out")
                    if name == "coredumpd":
                        entry = handler.wait_for_entry()  # 20 ms apart: against us, if at all
                        taken_s += time.perf_counter() - reaped
                        size = handler.record(entry)["core"]["size"]
                        stored[name] = _bytes(entry)
                        shutil.move(entry, directory / f"kept-{number}")
                    times[name].append(taken_s)
                    (directory / "out").unlink(missing_ok=True)
    finally:
        crasher.stdin.close()
        crasher.wait(timeout=60)
        crasher.stdout.close()
    yield from _lines(size, stored, times)
    yield from _by_hand(handler, directory / "kept-0" / "core.gz", size)


def _lines(
    size: int, stored: dict[str, int], times: dict[str, list[float]]
) -> Iterator[report.Line]:
    yield report.Line("capture: size of the core", f"{size / GIB:.2f} GiB", size / GIB / 2, None, 1)
    for name, taken in times.items():
        best, middle = min(taken), statistics.median(taken)
        value = f"{best:.2f} s ({middle:.2f}) {stored[name] / 1e6:.0f} MB"
        yield report.Line(f"capture by {name}", value)
    for name, bar in (("dd", 1.0), ("cat >/dev/null", 1.15), ("zstd -1", 1.0), ("gzip -1", 0.2)):
        if name in times:
            # gzip has fewer rounds than we: the first ones.
            pairs = zip(times["coredumpd"], times[name], strict=False)
            ratio = statistics.median(ours / theirs for ours, theirs in pairs)
            yield report.Line(f"capture: time, against {name}", "", ratio, at_most=bar)
    yield report.Line(
        "capture: bytes stored, of the core's", "", stored["coredumpd"] / size, at_most=0.2
    )


def _by_hand(handler: installed.Installed, core: Path, size: int) -> Iterator[report.Line]:
    """CPU and memory of the handler, which the kernel does not tell: once more on a pipe."""
    victim = subprocess.Popen(["sleep", "600"])
    pidfd = os.pidfd_open(victim.pid)
    os.set_inheritable(pidfd, True)
    words = installed.arguments(victim, pidfd=pidfd)
    feeder = subprocess.Popen(["gzip", "-dc", str(core)], stdout=subprocess.PIPE)
    process = subprocess.Popen(
        [handler.executable, "handle", *words], stdin=feeder.stdout, env={}, close_fds=False
    )
    peak_kib = 0
    while feeder.poll() is None:
        lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
        peak_kib = next((int(line.split()[1]) for line in lines if "VmHWM" in line), peak_kib)
        time.sleep(0.05)
    _, _, used = os.wait4(process.pid, 0)
    process.returncode = 0
    victim.kill()
    victim.wait()
    os.close(pidfd)
    cpu = used.ru_utime + used.ru_stime
    yield report.Line("capture: CPU per GiB", f"{cpu / size * GIB:.2f} s")
    yield report.Line("capture: resident", f"{peak_kib / 1024:.0f} MiB", peak_kib / 40960, 1.0)


def _helper(directory: Path, name: str, body: str) -> str:
    script = directory / name.split()[0]
    script.write_text("#!/bin/sh\nPATH=/usr/bin:/bin\n" + body.format(out=directory / "out") + "\n")
    script.chmod(0o755)
    return f"|{script}"


def _bytes(path: Path) -> int:
    if path.is_dir():
        return sum(child.stat().st_size for child in path.iterdir())
    return path.stat().st_size if path.exists() else 0
