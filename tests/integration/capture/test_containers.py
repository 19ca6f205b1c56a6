"""Containers in containers, and containers that are told to end while a core of theirs streams."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from support.node import capturing, installed, pods

from coredumpd.handler.memory import source
from coredumpd.spool import copier

pytestmark = capturing.needs_core_pattern
BIG = ("segv", "0", "2000000000")
GRACE_S = 1.0  # the shortest that kubelet gives: SIGTERM, then SIGKILL to all of the container


@pytest.fixture(params=["pipe", pytest.param("socket", marks=capturing.needs_sockets)])
def mode(request: pytest.FixtureRequest) -> str:
    """How the kernel hands cores over."""
    return str(request.param)


@pytest.mark.parametrize("inner", ["docker/{id}", "kubepods/burstable/pod{uid}/{id}"])
def test_a_crash_in_a_nested_container_belongs_to_the_pod_around_it(
    handler: installed.Installed, pod: pods.Pod, crasher: Path, mode: str, inner: str
) -> None:
    below = inner.format(id="e" * 64, uid="11111111-2222-3333-4444-555555555555")
    for directory in pod.hierarchies:
        (directory / below).mkdir(parents=True)
    container = ("unshare", "--pid", "--mount", "--uts", "--ipc", "--net", "--fork", "--mount-proc")
    with capturing.owning(handler, mode):
        process = subprocess.Popen(
            [*container, *container, crasher, "segv"], cwd="/", preexec_fn=lambda: pod.enter(below)
        )
        process.wait(timeout=60)
    found = capturing.read(handler.wait_for_entry())
    assert capturing.belongs(found, pod)
    assert found.raw["containerID"] == pod.container_id
    assert found.raw["process"]["nsPid"] == 1
    assert found.raw["process"]["cgroup"] == f"{pod.path}/{below}"


def test_a_container_with_a_grace_of_1_s_ends_in_time_while_a_big_core_streams(
    handler: installed.Installed, pod: pods.Pod, crasher: Path, mode: str
) -> None:
    with capturing.owning(handler, mode):
        container = pod.start(["unshare", "--pid", "--fork", crasher, *BIG], cwd="/")
        capturing.part(handler)
        for pid in capturing.handlers(handler.host_dir):
            os.kill(pid, signal.SIGSTOP)  # the core would stream for minutes
        container.terminate()
        end = time.monotonic() + GRACE_S
        while inside(pod) and time.monotonic() < end:
            time.sleep(0.02)
        assert inside(pod), "it must still be dumping, or this tests nothing"
        for pid in inside(pod):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        end = time.monotonic() + 10
        while inside(pod) and time.monotonic() < end:
            time.sleep(0.02)
        assert not inside(pod), "the container could not be ended"
        for pid in capturing.handlers(handler.host_dir):
            os.kill(pid, signal.SIGCONT)
        container.wait(10)
        entry = handler.wait_for_entry()
    found = capturing.read(entry)
    assert capturing.belongs(found, pod)
    assert found.raw["core"]["truncated"]["reason"] in (source.KILLED, copier.SHORT)
    assert found.raw["core"]["size"] > 0


def inside(pod: pods.Pod) -> list[int]:
    """The processes of the container, as kubelet's runtime finds them to kill them."""
    found = (pod.hierarchies[0] / "cgroup.procs").read_text().split()
    return [int(pid) for pid in found]
