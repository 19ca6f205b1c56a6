"""200 processes of 64 MiB crash at once, by pipe and by socket: what becomes of them and the node.

A real agent captures, ships and counts three such storms. The peer is the same storm with
`cat >/dev/null` as the kernel's helper, once before and once after ours: beside the pipe with the
same limit, so that it skips as many, beside the socket with none, so that it takes all, as that
does. Responsiveness is how long a small program takes from fork to its end, median, 95th
percentile and maximum of all storms of a kind, asked for without a pause by a process of its own.
"""

from __future__ import annotations

import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
from support import crashers, waiting
from support.node import agents, capturing, corepattern, hostdirs, pods

from bench import report
from coredumpd.agent.skipped import kernel_lines, ledger
from coredumpd.handler import crash

NEEDS = ("dist/coredumpd", "gcc")
CRASHES, HEAP_BYTES, LIMIT = 200, 64 * 1024 * 1024, 16
STORMS = 3
MORE = 12  # after the storm: the kernel then tells what it kept back, which must not count again
MORE_AFTER_S = 5.1  # its rate limit
TIMEOUT_S = 60  # captureTimeout
DEADLINE_S = 300.0
QUIET_S = 3.0
MEMORY_SHARE = 0.7  # of what is available, for the heaps
SLOWER_MAX = 2.0  # to the peer's storm
_PROBE = """
import json, os, select, sys, time
took = []
while not select.select([0], [], [], 0)[0]:
    begun = time.perf_counter()
    os.waitpid(os.posix_spawn("/bin/true", ["true"], {}), 0)
    took.append(time.perf_counter() - begun)
print(json.dumps(took))
"""


def run() -> Iterator[report.Line]:
    if not corepattern.writable():
        yield report.skipped("storm", "core_pattern is not writable here")
        return
    fit = int(psutil.virtual_memory().available * MEMORY_SHARE) // HEAP_BYTES
    count = min(CRASHES, fit)
    if count < CRASHES:
        yield report.Line(f"storm: MEMORY FOR {count} PROCESSES ONLY", f"of {CRASHES}")
    with probing() as quiet:
        time.sleep(QUIET_S)
    yield report.Line("storm: fork and exec, nothing else going on", _spread(quiet))
    for mode in capturing.MODES:
        if mode == "socket" and not capturing.has_sockets():
            yield report.skipped("storm socket", "this kernel has no capture sockets")
            continue
        limit = LIMIT if mode == "pipe" else 0
        ours: list[float] = []
        peer = _peer(count, limit)
        with tempfile.TemporaryDirectory(prefix="cd-") as directory:
            yield from _measured(Path(directory), mode, count, ours)
        peer += _peer(count, limit)
        name = f"storm {mode}: fork and exec"
        yield report.Line(f"{name}, beside cat", _spread(peer))
        yield report.Line(name, _spread(ours))
        # Not of the median: back to back, most are of the quiet moments, of which a storm has few.
        slower = _percentile(ours, 95) / _percentile(peer, 95)
        yield report.Line(f"{name}, p95 against cat", "", slower, SLOWER_MAX)


def _peer(count: int, limit: int) -> list[float]:
    """How long fork and exec take while the kernel hands the same storm to cat."""
    with tempfile.TemporaryDirectory(prefix="cd-") as name:
        directory = Path(name)
        program = crashers.compiled("crasher", directory)
        helper = directory / "cat"
        helper.write_text("#!/bin/sh\nexec /bin/cat >/dev/null\n")
        helper.chmod(0o755)
        with corepattern.borrowed(), pods.running(directory / "runtime") as pod:
            corepattern.SYSCTLS[1].write_text(str(limit))
            corepattern.SYSCTLS[0].write_text(f"|{helper}")
            with storm(pod, program, count) as crashing, probing() as took:
                crashing()
    return took


def _measured(directory: Path, mode: str, count: int, took: list[float]) -> Iterator[report.Line]:
    """STORMS of them at one node; what fork and exec took meanwhile is added to `took`."""
    program = crashers.compiled("crasher", directory)
    host_dir = Path(tempfile.mkdtemp(prefix="cd-", dir=hostdirs.ROOTED))
    gone_s = []
    with (
        agents.node(directory, host_dir, "frozen") as node,
        corepattern.borrowed(),
        pods.running(directory / "runtime") as pod,
    ):
        # By socket all of them wait, and one pod that is alone has half of those that may.
        at_once = LIMIT if mode == "pipe" else 2 * CRASHES
        node.settings |= {"capture": mode, "corePipeLimit": at_once}
        node.extra["crashLoop"] = {"window": "0"}  # all of these are the same crash
        node.policy = {
            "runtimeStateDirs": [str(directory / "runtime")],
            "captureTimeout": f"{TIMEOUT_S}s",
        }
        node.start("--no-kubernetes")
        watch = _Handlers(host_dir)
        total = 0
        for _ in range(STORMS):
            with storm(pod, program, count) as crashing, probing() as meanwhile:
                gone_s.append(crashing(watch.look))
            took += meanwhile
            time.sleep(MORE_AFTER_S)
            for process in [pod.start([program, "abort", "0.5"], cwd="/") for _ in range(MORE)]:
                process.wait()
            total += count + MORE
            _wait(node, watch, total)
        time.sleep(ledger.UNCLAIMED_S + ledger.GRACE_S)  # what is counted twice shows up by then
        watch.look()
        stored, missed = len(node.stored()), _skipped(node)
        left = len(capturing.handlers(host_dir))
        node.stop()
    hostdirs.remove(host_dir)
    deadline_s = TIMEOUT_S + crash.GRACE_S
    name = f"storm {mode}"
    slowest_s = max(gone_s)
    yield report.Line(f"{name}: until the last of {count} was gone", f"{slowest_s:.1f} s")
    yield report.Line(f"{name}: stored", f"{stored} of {total}")
    for reason, number in sorted(missed.items()):
        yield report.Line(f"{name}: skipped, {reason}", f"{number}")
    missing = abs(total - stored - sum(missed.values()))
    yield report.Line(f"{name}: unaccounted for", f"{missing}", missing / total, at_most=0)
    longest = f"{watch.longest_s:.1f} s"
    share = watch.longest_s / deadline_s
    yield report.Line(f"{name}: longest handler, of its deadline", longest, share, at_most=1)
    yield report.Line(f"{name}: handlers left over", f"{left}", float(left), at_most=0)


def _wait(node: agents.Agent, watch: _Handlers, total: int) -> None:
    """Until so many crashes are stored or skipped, or for too long: a bar will say so."""

    def done() -> bool:
        watch.look()
        return _accounted(node) >= total

    with contextlib.suppress(waiting.Failed):
        waiting.until("all to be accounted for", done, DEADLINE_S)


def _accounted(node: agents.Agent) -> int:
    process = node.process
    assert process is not None
    assert process.poll() is None, (
        f"the agent ended, {process.returncode}:\n{node.logged()[-4000:]}"
    )
    return len(node.stored()) + sum(_skipped(node).values())


def _skipped(node: agents.Agent) -> dict[str, int]:
    """By reason, without what policy leaves out: crashes of the machine's own, in no pod."""
    return {reason: n for reason, n in node.skipped().items() if reason != kernel_lines.POLICY}


class _Handlers:
    """How old handlers get, as far as looking now and then can tell."""

    def __init__(self, host_dir: Path) -> None:
        self._host_dir = host_dir
        self.longest_s = 0.0

    def look(self) -> None:
        ages_s = capturing.handlers(self._host_dir).values()
        self.longest_s = max(self.longest_s, *ages_s, 0.0)


class _Storm:
    """Processes whose heaps are filled; calling it lets them all crash and waits for their end."""

    def __init__(self, pod: pods.Pod, program: Path, count: int) -> None:
        ready, say = os.pipe()
        self._wait, self._go = os.pipe()
        os.set_inheritable(self._go, False)
        words = [program, "abort", "0", str(HEAP_BYTES), "wait"]
        self.processes = [
            pod.start(words, cwd="/", stdin=self._wait, stdout=say) for _ in range(count)
        ]
        os.close(say)
        os.close(self._wait)
        said = 0
        while said < count:
            said += len(os.read(ready, count)) or count  # all are gone: the caller will see
        os.close(ready)

    def __call__(self, look: object = None) -> float:
        """Seconds from the first crash until the last process is gone."""
        begun = time.monotonic()
        os.close(self._go)
        while any(process.poll() is None for process in self.processes):
            if callable(look):
                look()
            time.sleep(0.1)
        return time.monotonic() - begun


@contextlib.contextmanager
def storm(pod: pods.Pod, program: Path, count: int) -> Iterator[_Storm]:
    """A storm about to break; its processes are gone when the block ends."""
    crashes = _Storm(pod, program, count)
    try:
        yield crashes
    finally:
        for process in crashes.processes:
            process.kill()
            process.wait()


@contextlib.contextmanager
def probing() -> Iterator[list[float]]:
    """Seconds of each fork and exec while the block runs, filled in at its end."""
    took: list[float] = []
    command = [sys.executable, "-I", "-S", "-c", _PROBE]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as probe:
        yield took
        output, _ = probe.communicate(b".")
    took += json.loads(output)


def _spread(took: list[float]) -> str:
    middle, late, worst = statistics.median(took), _percentile(took, 95), max(took)
    return f"{middle * 1000:.1f}, {late * 1000:.1f}, {worst * 1000:.0f} ms"


def _percentile(took: list[float], percent: int) -> float:
    return sorted(took)[len(took) * percent // 100]
