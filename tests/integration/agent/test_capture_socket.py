"""The agent with `capture: socket`, on the real kernel."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import crashers, waiting
from support.node import agents, capturing, corepattern, pods

PATTERN = corepattern.SYSCTLS[0]
DEADLINE_S = 30.0
pytestmark = [capturing.needs_core_pattern, capturing.needs_sockets]


@pytest.fixture
def crasher(tmp_path: Path) -> Path:
    return crashers.compiled("crasher", tmp_path)


@pytest.fixture
def owner(node: agents.Agent, tmp_path: Path) -> Iterator[agents.Agent]:
    """A node whose agent captures by socket."""
    node.settings["capture"] = "socket"
    node.policy = {"runtimeStateDirs": [str(tmp_path / "runtime")]}
    with corepattern.borrowed():
        PATTERN.write_text("core.before\n")
        yield node
        if node.process is not None:
            node.stop()


def listener(node: agents.Agent) -> int:
    """The pid of the newest listener, from the agent's log."""
    return int(re.findall(r"listener (\d+)", node.logged())[-1])


def by_socket(node: agents.Agent) -> bool:
    return PATTERN.read_text() == f"@@{node.host_dir}/capture.sock\n"


def by_pipe(node: agents.Agent) -> bool:
    return PATTERN.read_text().startswith(f"|{node.host_dir}/current/coredumpd handle ")


def crash(pod: pods.Pod, program: Path, *words: str) -> None:
    assert pod.start([program, "abort", *words], cwd="/").wait(60) == -signal.SIGABRT


def test_a_crash_goes_from_the_socket_to_the_store(owner, pod, crasher):
    owner.start("--no-kubernetes")
    assert by_socket(owner)
    crash(pod, crasher)
    (key,) = owner.wait_stored(1)
    assert owner.record(key)["capture"]["mode"] == "socket"
    assert owner.record(key)["podUID"] == pod.uid


def test_a_stopping_agent_leaves_the_pipe_handler_and_loses_no_crash(owner, pod, crasher):
    owner.start("--no-kubernetes")
    crashes = [pod.start([crasher, "abort", f"{n / 20}"], cwd="/") for n in range(20)]
    assert owner.stop() == 0
    assert by_pipe(owner)
    assert {process.wait(60) for process in crashes} == {-signal.SIGABRT}
    waiting.until("20 captures", lambda: kept(owner) == 20, DEADLINE_S)


def test_a_killed_agent_leaves_the_pipe_handler_and_loses_no_crash(owner, pod, crasher):
    owner.start("--no-kubernetes")
    crashes = [pod.start([crasher, "abort", f"{n / 20}"], cwd="/") for n in range(20)]
    owner.kill()
    waiting.until("the pipe handler", lambda: by_pipe(owner), DEADLINE_S, 0.001)
    owner.start("--no-kubernetes")
    assert {process.wait(60) for process in crashes} == {-signal.SIGABRT}
    waiting.until("20 crashes in the store", lambda: owner.crashes() == 20, DEADLINE_S)
    waiting.until("an empty spool", lambda: not os.listdir(owner.spool), DEADLINE_S)


def test_a_killed_or_stopped_listener_is_replaced(owner, pod, crasher):
    owner.start("--no-kubernetes")
    for number in (signal.SIGKILL, signal.SIGSTOP):
        old = listener(owner)
        os.kill(old, number)
        crash(pod, crasher)  # whoever stands in, now or when the queue has a new listener
        waiting.until("another listener", lambda old=old: listener(owner) != old, DEADLINE_S)
        waiting.until("the socket", lambda: by_socket(owner), DEADLINE_S, 0.02)
    crash(pod, crasher)
    owner.wait_stored(3)
    assert "coredumpd_agent_listener_failures_total 2.0" in owner.get("/metrics")[1]


@pytest.mark.skipif(
    not os.access("/proc/1/ns/mnt", os.R_OK),
    reason="PID 1 has rights that this machine's root lacks",
)
def test_in_a_mount_namespace_of_its_own_the_agent_sets_the_hosts_socket(owner, pod, crasher):
    owner.start("--no-kubernetes", before=["unshare", "--mount"])
    assert by_socket(owner)
    mine, theirs = (os.readlink(f"/proc/{who}/ns/mnt") for who in ("self", listener(owner)))
    assert mine == theirs, "the listener must run on the host"
    assert os.readlink(f"/proc/{owner.process.pid}/ns/mnt") != mine
    crash(pod, crasher)
    owner.wait_stored(1)


def test_where_the_hosts_namespace_is_out_of_reach_the_agent_says_so_and_stops(owner):
    if os.access("/proc/1/ns/mnt", os.R_OK):
        pytest.skip("this machine's root can enter PID 1's namespaces")
    words = ["unshare", "--mount", *agents.program(owner.kind), "agent", "run", "--no-kubernetes"]
    refused = subprocess.run(
        [*words, "--config", str(owner.config())],
        env=agents.environment(),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert refused.returncode == 77, refused.stderr
    assert "cannot write /proc/sys/kernel/core_pattern: Invalid argument" in refused.stderr
    assert by_pipe(owner)


def test_an_uninstallation_after_a_kill_puts_the_original_back(owner):
    owner.start("--no-kubernetes")
    config = str(owner.config())
    owner.kill()
    undone = owner.call("uninstall", "--config", config)
    assert undone.returncode == 0, undone.stderr
    assert PATTERN.read_text() == "core.before\n"
    assert not owner.host_dir.exists()


def test_a_linked_host_dir_is_refused_by_name(owner, tmp_path):
    link = owner.host_dir.with_name(owner.host_dir.name + "-link")
    link.symlink_to(owner.host_dir)
    owner.settings["hostDir"] = str(link)
    refused = owner.call("run", "--no-kubernetes", "--config", str(owner.config()))
    link.unlink()
    assert refused.returncode == 78
    assert "agent.capture: 'socket': the kernel follows no link" in refused.stderr
    assert PATTERN.read_text() == "core.before\n"


def kept(node: agents.Agent) -> int:
    return len(node.stored()) + len(list(node.spool.glob("*[!t]/meta.json")))
