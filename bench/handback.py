"""After kill -9 in socket mode: how long until core_pattern runs the pipe handler, crashes lost.

Frozen agent, listener and handler. Around each kill, crashes happen every few milliseconds. Killed
together, agent and listener leave a core_pattern that nobody answers until the next agent starts;
then every crash is lost, so there the crashes show that and nothing else.
"""

from __future__ import annotations

import os
import re
import signal
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
from support import crashers
from support.node import agents, corepattern, hostdirs, pods

from bench import report

NEEDS = ("dist/coredumpd", "gcc")
PATTERN = corepattern.SYSCTLS[0]
ROUNDS = 3
CRASHES = 30
EVERY_S = 0.004
KILLED = ("agent", "listener", "both")


def run() -> Iterator[report.Line]:
    if not corepattern.writable():
        yield report.skipped("handback", "core_pattern is not writable here")
        return
    for killed in KILLED:
        with tempfile.TemporaryDirectory(prefix="cd-") as name, corepattern.borrowed():
            rounds = [_round(Path(name) / str(number), killed) for number in range(ROUNDS)]
        times, lost = zip(*rounds, strict=True)
        what = f"handback after kill -9 of {killed}"
        if killed == "both":
            what += ", from the next agent's start"
        span = f"{statistics.median(times) * 1000:.1f} ms, at most {max(times) * 1000:.1f}"
        yield report.Line(what, span)
        yield report.Line(f"handback crashes lost, {killed}", f"{sum(lost)} of {CRASHES * ROUNDS}")


def _round(directory: Path, killed: str) -> tuple[float, int]:
    """(seconds until core_pattern was the pipe handler's, crashes of which nothing was kept)."""
    directory.mkdir()
    crasher = crashers.compiled("crasher", directory.parent)
    host_dir = Path(tempfile.mkdtemp(prefix="cd-", dir=hostdirs.ROOTED))
    runtime = directory / "runtime"
    try:
        with agents.node(directory, host_dir, "frozen") as node, pods.running(runtime) as pod:
            node.settings["capture"] = "socket"
            node.policy = {"runtimeStateDirs": [str(runtime)]}
            node.extra["crashLoop"] = {"window": "0"}  # all of them are the same crash
            node.start("--no-kubernetes")
            victims = _victims(node, killed)
            crashes = [
                pod.start([crasher, "abort", str(number * EVERY_S), "4096"], cwd="/")
                for number in range(CRASHES)
            ]
            begun = time.monotonic()
            for pid in victims:
                os.kill(pid, signal.SIGKILL)
            if killed == "both":
                _reap(crashes)
                begun = time.monotonic()
            if killed != "listener":
                node.process.wait()
                node.process = None
            if killed == "both":
                node.start("--no-kubernetes")
            while not PATTERN.read_text().startswith("|") and not _again(node, victims, killed):
                pass  # a busy loop: it is milliseconds
            taken = time.monotonic() - begun
            _reap(crashes)
            if node.process is None:
                node.start("--no-kubernetes")
            kept = _kept(node)
            node.stop()
            return taken, CRASHES - kept
    finally:
        hostdirs.remove(host_dir)


def _victims(node: agents.Agent, killed: str) -> list[int]:
    listener = int(re.findall(r"listener (\d+)", node.logged())[-1])
    if killed == "listener":
        return [listener]
    # What a onefile executable unpacked and runs is a child of it.
    children = [child.pid for child in psutil.Process(node.process.pid).children()]
    agent = [*(pid for pid in children if pid != listener), node.process.pid]
    return [*agent, listener] if killed == "both" else agent


def _again(node: agents.Agent, victims: list[int], killed: str) -> bool:
    """Is there a new listener already? Then the pipe handler had its turn."""
    return (
        killed != "agent" and int(re.findall(r"listener (\d+)", node.logged())[-1]) != victims[-1]
    )


def _reap(crashes: list[subprocess.Popen[bytes]]) -> None:
    for process in crashes:
        process.wait(60)


def _kept(node: agents.Agent) -> int:
    """Dumps in the store once the spool is empty and stays so for a second."""
    quiet, seen = time.monotonic(), -1
    while time.monotonic() - quiet < 1:
        now = len(node.stored())
        if now != seen or os.listdir(node.spool):
            quiet, seen = time.monotonic(), now
        time.sleep(0.02)
    return seen
