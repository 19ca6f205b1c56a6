"""Many crashes at once: each is stored or counted as skipped, and the node stays responsive.

Scaled for two cores; `make bench BENCH=storm` runs 200 processes of 64 MiB.
"""

from __future__ import annotations

import re
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from support import agents, capturing, corepattern, crashers, pods, waiting

CRASHES, LIMIT = 30, 4
MORE = 10  # the kernel prints as many lines before it keeps any back
HEAP_BYTES = 8 * 1024 * 1024
pytestmark = capturing.needs_core_pattern


@pytest.mark.parametrize("mode", ["pipe", pytest.param("socket", marks=capturing.needs_sockets)])
def test_of_a_storm_every_crash_is_stored_or_counted(
    node: agents.Agent, tmp_path: Path, mode: str
) -> None:
    program = crashers.compiled("crasher", tmp_path)
    node.settings |= {"capture": mode, "corePipeLimit": LIMIT}
    node.policy = {"runtimeStateDirs": [str(tmp_path / "runtime")]}
    with corepattern.borrowed(), pods.running(tmp_path / "runtime") as pod:
        node.start("--no-kubernetes")
        command = [program, "abort", "0.3", str(HEAP_BYTES)]
        storm = [pod.start(command, cwd="/") for _ in range(CRASHES)]
        assert slowest_answer_s(node, storm) < 10, "the agent did not answer while they crashed"
        for process in storm:
            assert process.wait(60) == -signal.SIGABRT
        if mode == "pipe":
            # The kernel tells how many lines it kept back with the first one after 5 s: provoke it.
            time.sleep(5.1)
            for process in [pod.start(command, cwd="/") for _ in range(MORE)]:
                process.wait(60)
            waiting.until("all to be accounted for", lambda: accounted(node) == CRASHES + MORE, 60)
        else:
            waiting.until("all to be accounted for", lambda: accounted(node) == CRASHES, 60)
            assert skipped(node) == 0
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


def skipped(node: agents.Agent) -> int:
    counts = re.findall(
        r"^coredumpd_agent_skipped_total\{.*\} (\d+)", node.get("/metrics")[1], re.M
    )
    return sum(map(int, counts))


def accounted(node: agents.Agent) -> int:
    return node.crashes() + skipped(node)
