"""Cores with holes, from the kernel to the disk: mapped memory must cost nothing.

Time is from the abort until the process is reaped and the spool entry is complete; the process is
started, and fills its memory, before. The best of three rounds is compared.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from support import crashers
from support.node import capturing, corepattern, installed

from bench import report

NEEDS = ("dist/coredumpd", "gcc")
ROUNDS = 3
MIB = 1 << 20
HEAP, MAPPED, EMPTY = "1 GiB heap", "64 GiB mapped, 1 GiB touched", "32 GiB mapped, 64 pages"
# GiB mapped, parts that are written, bytes of each.
PROGRAMS = {HEAP: (1, 1, 1024 * MIB), MAPPED: (64, 1024, MIB), EMPTY: (32, 64, 4096)}


def run() -> Iterator[report.Line]:
    if not corepattern.writable():
        yield report.skipped("sparse", "core_pattern is not writable here")
        return
    with tempfile.TemporaryDirectory(prefix="cd-", dir="/var/lib") as name:
        directory = Path(name)
        program = crashers.compiled("crasher_sparse", directory)
        handler = installed.Installed(directory / "h", "frozen")
        handler.policy(hostCrashes="store", maxSize=80 << 30)
        times: dict[str, list[float]] = {name: [] for name in PROGRAMS}
        with capturing.owning(handler):
            for _ in range(ROUNDS):
                for what, arguments in PROGRAMS.items():
                    with crashing(program, *arguments) as process:
                        begun = crash(process)
                        entry = handler.wait_for_entry()
                        times[what].append(time.perf_counter() - begun)
                    core = handler.record(entry)["core"]
                    assert not core["truncated"]["is"], core
                    shutil.rmtree(entry)
        cat = directory / "cat"
        cat.write_text("#!/bin/sh\nexec /bin/cat >/dev/null\n")
        cat.chmod(0o755)
        with corepattern.borrowed():
            corepattern.SYSCTLS[1].write_text("16")
            corepattern.SYSCTLS[0].write_text(f"|{cat}")
            with crashing(program, *PROGRAMS[EMPTY]) as process:
                begun = crash(process)
                cat_s = time.perf_counter() - begun
    best = {what: min(measured) for what, measured in times.items()}
    yield report.Line(f"sparse: {HEAP}", f"{best[HEAP]:.2f} s")
    against = best[MAPPED] / best[HEAP]
    yield report.Line(f"sparse: {MAPPED}", f"{best[MAPPED]:.2f} s", against, at_most=1.2)
    yield report.Line("sparse: 32 GiB by cat >/dev/null, once", f"{cat_s:.2f} s")
    yield report.Line(f"sparse: {EMPTY}", f"{best[EMPTY]:.2f} s", best[EMPTY] / cat_s, at_most=0.05)


@contextlib.contextmanager
def crashing(program: Path, *arguments: int) -> Iterator[subprocess.Popen[bytes]]:
    """The program, once its memory is filled; it aborts when its standard input ends."""
    words = [str(program), *map(str, arguments), "wait"]
    process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd="/")
    assert process.stdout is not None
    assert process.stdin is not None
    with process.stdout, process.stdin:
        assert process.stdout.read(1) == b"."
        yield process


def crash(process: subprocess.Popen[bytes]) -> float:
    """When it began; the process is gone on return."""
    assert process.stdin is not None
    begun = time.perf_counter()
    process.stdin.close()
    process.wait(timeout=300)
    return begun
