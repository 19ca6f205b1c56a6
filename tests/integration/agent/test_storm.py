"""Many crashes at once: each is stored or counted as skipped, and the node stays responsive.

Scaled for two cores; `make bench BENCH=storm` runs 200 processes of 64 MiB.
"""

from __future__ import annotations

import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from support import crashers, waiting
from support.node import agents, capturing, corepattern, installed, pods

CRASHES, LIMIT = 40, 2  # more over the limit than the 10 of which the kernel prints a line
MORE = 8  # with 10 lines of the kernel in 5 s, the last crash would count for one it kept back
HEAP_BYTES = 8 * 1024 * 1024
# PR_SET_DUMPABLE 0 (prctl(2)): the kernel makes no core, and says nothing.
NOT_DUMPABLE = "import ctypes, os; ctypes.CDLL(None).prctl(4, 0, 0, 0, 0); os.abort()"
pytestmark = capturing.needs_core_pattern
MODES = ["pipe", pytest.param("socket", marks=capturing.needs_sockets)]


@pytest.fixture
def storming(node: agents.Agent, tmp_path: Path) -> agents.Agent:
    """A node that takes few crashes at once, and knows the pod of `tmp_path`/runtime."""
    node.settings |= {"corePipeLimit": LIMIT}
    node.policy = {"runtimeStateDirs": [str(tmp_path / "runtime")]}
    return node


@capturing.needs_connector
@pytest.mark.parametrize("mode", MODES)
def test_of_a_storm_every_crash_is_stored_or_counted(
    storming: agents.Agent, tmp_path: Path, mode: str
) -> None:
    node = storming
    program = crashers.compiled("crasher", tmp_path)
    node.settings["capture"] = mode
    if mode == "socket":
        node.settings["corePipeLimit"] = 4 * CRASHES  # a pod has a quarter
    command = [program, "abort", "0.3", str(HEAP_BYTES)]
    with corepattern.borrowed(), pods.running(tmp_path / "runtime") as pod:
        node.start("--no-kubernetes")
        run_by_hand(node)
        storm = [pod.start(command, cwd="/") for _ in range(CRASHES)]
        assert slowest_answer_s(node, storm) < 10, "the agent did not answer while they crashed"
        for process in storm:
            assert process.wait(60) == -signal.SIGABRT
        # Without another crash: the kernel alone would tell the end of the storm with the next.
        waiting.until("all to be accounted for", lambda: accounted(node) >= CRASHES, 60)
        assert accounted(node) == CRASHES
        if mode == "pipe":
            assert node.skipped()["share"] > 0
            assert sum(node.skipped().values()) > 10
        else:
            assert node.skipped() == {}
        # The kernel tells how many lines it kept back with the first one after 5 s: not counted
        # again. The process that may not be dumped is the last to be accounted for.
        time.sleep(5.1)
        for process in [pod.start(command, cwd="/") for _ in range(MORE)]:
            process.wait(60)
        pod.start(["python3", "-c", NOT_DUMPABLE], cwd="/").wait(60)
        waiting.until("the last", lambda: node.skipped().get("not-dumped"), 60)
        waiting.until("the rest", lambda: accounted(node) >= CRASHES + MORE + 1, 60)
        assert accounted(node) == CRASHES + MORE + 1
        assert node.skipped()["not-dumped"] == 1
        waiting.until("the handlers to end", lambda: not capturing.handlers(node.host_dir), 60)
        node.stop()


def test_without_the_connector_the_log_alone_counts_and_the_agent_says_so_once(
    storming: agents.Agent, tmp_path: Path
) -> None:
    node = storming
    program = crashers.compiled("crasher", tmp_path)
    command = [program, "abort", "0.3", str(HEAP_BYTES)]
    with corepattern.borrowed(), pods.running(tmp_path / "runtime") as pod:
        node.start("--no-kubernetes", before=["setpriv", "--bounding-set", "-net_admin"])
        for process in [pod.start(command, cwd="/") for _ in range(LIMIT + 4)]:
            process.wait(60)
        waiting.until("the log to tell", lambda: "not captured: more crashes" in node.logged(), 60)
        assert node.logged().count("counted by the kernel's log alone") == 1
        node.stop()


def slowest_answer_s(node: agents.Agent, storm: list[Any]) -> float:
    """The slowest /healthz while they crash."""
    slowest = 0.0
    while any(process.poll() is None for process in storm):
        begun = time.monotonic()
        node.get("/healthz")
        slowest = max(slowest, time.monotonic() - begun)
        time.sleep(0.05)
    return slowest


def run_by_hand(node: agents.Agent) -> None:
    """The installed handler, of a process that did not crash: its word in the log is nobody's."""
    with subprocess.Popen(["sleep", "600"]) as alive:
        words = [node.host_dir / "current" / "coredumpd", "handle", *installed.arguments(alive)]
        subprocess.run(words, stdin=subprocess.DEVNULL, timeout=60)
        alive.kill()


def accounted(node: agents.Agent) -> int:
    return node.crashes() + sum(node.skipped().values())
