"""The agent, the listener or a server crashes for real, on a node that captures."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from support import crashers, waiting
from support.node import agents, capturing, corepattern, installed, pods

from coredumpd.formats import host_dir as host_dirs

PATTERN = corepattern.SYSCTLS[0]
pytestmark = capturing.needs_core_pattern


@pytest.fixture
def owner(node: agents.Agent, tmp_path: Path) -> Iterator[agents.Agent]:
    """A node whose agent owns core_pattern while it runs."""
    node.policy = {"runtimeStateDirs": [str(tmp_path / "runtime")]}
    with corepattern.borrowed():
        PATTERN.write_text("core.before\n")
        yield node


def work(process: subprocess.Popen[bytes]) -> psutil.Process:
    """The process that does the work: a onefile executable's is a child of its unpacker."""
    family = psutil.Process(process.pid)
    children = [child for child in family.children() if "handle" not in child.cmdline()]
    return children[0] if children else family


def move(process: subprocess.Popen[bytes], pod: pods.Pod) -> None:
    """Into the pod, as if the kubelet had started it there."""
    family = psutil.Process(process.pid)
    for member in [family, *family.children()]:
        for directory in pod.hierarchies:
            (directory / "cgroup.procs").write_text(str(member.pid))


def captures(spool: Path) -> list[Path]:
    """What is in the spool, finished or not; not what a self-test that was cut short has left."""
    found = list(spool.iterdir()) if spool.exists() else []
    return [path for path in found if not path.name.startswith(host_dirs.SELF_TEST_ENTRY)]


def settled(spool: Path, deadline_s: float = 30) -> list[Path]:
    """The captures, once there is one and none is at work."""

    def done() -> list[Path]:
        found = captures(spool)
        return [] if any(path.suffix == ".part" for path in found) else found

    return waiting.until("the capture", done, deadline_s, 0.02)


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGABRT])
def test_an_agent_that_crashes_is_captured_once_and_shipped_by_the_next(owner, pod, number):
    owner.start("--no-kubernetes")
    ours = PATTERN.read_text()
    move(owner.process, pod)
    victim = work(owner.process).pid
    os.kill(victim, number)
    assert owner.process.wait(60) in (-number, 128 + number)
    owner.process = None
    assert PATTERN.read_text() == ours
    found = settled(owner.spool)
    crashed = [capturing.read(path).raw["process"]["pid"] for path in found]
    # PyInstaller's unpacker ends by the signal that ended its child, which is a crash of its own.
    assert victim in crashed
    assert len(crashed) <= (2 if owner.kind == "frozen" else 1)
    owner.start("--no-kubernetes")
    assert len(owner.wait_stored(len(found))) == len(found)
    assert owner.stop() == 0


def test_an_agent_that_crashes_in_no_pod_is_left_out_by_policy_and_harms_nothing(
    owner, pod, tmp_path
):
    owner.start("--no-kubernetes")
    ours = PATTERN.read_text()
    os.kill(work(owner.process).pid, signal.SIGSEGV)
    owner.process.wait(60)
    owner.process = None
    assert PATTERN.read_text() == ours
    crasher = crashers.compiled("crasher", tmp_path)
    assert pod.start([crasher, "abort"], cwd="/").wait(60) == -signal.SIGABRT
    (entry,) = settled(owner.spool)
    assert capturing.read(entry).raw["process"]["comm"] == "crasher"
    owner.start("--no-kubernetes")
    owner.wait_stored(1)
    assert owner.stop() == 0


@capturing.needs_sockets
@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGABRT])
def test_a_listener_that_crashes_does_not_wait_for_itself(owner, pod, tmp_path, number):
    owner.settings["capture"] = "socket"
    owner.start("--no-kubernetes")
    old = listener(owner)
    os.kill(old, number)
    waiting.until("another listener", lambda: listener(owner) != old, 30, 0.01)
    assert "the listener ended" in owner.logged()
    assert "the listener said nothing" not in owner.logged(), "it waited for itself"
    waiting.until("the socket", lambda: PATTERN.read_text().startswith("@@"), 30, 0.02)
    crasher = crashers.compiled("crasher", tmp_path)
    assert pod.start([crasher, "abort"], cwd="/").wait(60) == -signal.SIGABRT
    (key,) = owner.wait_stored(1)
    assert "/crasher-" in key
    assert owner.stop() == 0


def listener(node: agents.Agent) -> int:
    """The pid of the newest listener, from the agent's log."""
    return int(re.findall(r"listener (\d+)", node.logged())[-1])


@pytest.mark.parametrize("mode", ["pipe", pytest.param("socket", marks=capturing.needs_sockets)])
def test_a_server_that_crashes_in_a_pod_is_captured_like_anything_else(
    node, pod, tmp_path, kind, mode
):
    handler = installed.Installed(node.host_dir, kind)
    handler.policy(runtimeStateDirs=[str(pod.state_dir)])
    words = ["server", "--standalone", "--data-dir", str(tmp_path / "data"), "--port", "0"]
    with capturing.owning(handler, mode), serving(kind, words, tmp_path / "log") as server:
        move(server, pod)
        victim = work(server).pid
        os.kill(victim, signal.SIGSEGV)
        server.wait(60)
        found = settled(handler.spool)
    records = [capturing.read(path) for path in found]
    assert victim in [crashed.raw["process"]["pid"] for crashed in records]
    assert all(capturing.belongs(crashed, pod) for crashed in records)
    assert not any(crashed.raw["core"]["truncated"]["is"] for crashed in records)
    with serving(kind, words, tmp_path / "log2"):
        pass  # its objects are whole: it starts again on the same data


@contextlib.contextmanager
def serving(kind: str, words: list[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A server, once it serves."""
    program = [str(installed.FROZEN)] if kind == "frozen" else [sys.executable, "-m", "coredumpd"]
    with log.open("wb") as sink:
        process = subprocess.Popen([*program, *words], cwd=installed.ROOT, stderr=sink, stdout=sink)
    try:
        waiting.until("the server", lambda: "serving on port" in log.read_text(), 60, 0.02)
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
        process.wait(30)
