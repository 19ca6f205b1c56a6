"""What one pod takes of a node's captures, whatever it does, leaves its neighbours theirs."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import waiting
from support.node import capturing, installed, kernellog, pods

pytestmark = capturing.needs_core_pattern
MODES = ["pipe", pytest.param("socket", marks=capturing.needs_sockets)]
DEADLINE_S = 120.0
# One page in each MiB is touched: 8 MiB of memory, and a core of 2 GiB without a hole of a MiB.
SPARSE = """
import mmap, os
room = mmap.mmap(-1, 2 << 30, flags=0x4022)  # private, anonymous, without a reserve
room.madvise(15)  # MADV_NOHUGEPAGE: a page is 4 KiB
for number in range(2048):
    room[number << 20] = 1
os.abort()
"""
SPARSE_COMMAND = ["python3", "-I", "-S", "-c", SPARSE]


@contextlib.contextmanager
def refiring(pod: pods.Pod, count: int, command: list[str]) -> Iterator[None]:
    """So many processes of `pod` crash, each again as soon as it has."""
    stop = threading.Event()
    alive: set[subprocess.Popen[bytes]] = set()

    def fire() -> None:
        while not stop.is_set():
            process = pod.start(command, cwd="/", stderr=subprocess.DEVNULL)
            alive.add(process)
            process.wait()
            alive.discard(process)

    threads = [threading.Thread(target=fire) for _ in range(count)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        while any(thread.is_alive() for thread in threads):
            for process in list(alive):
                process.kill()
            threads[0].join(0.05)


def parts(handler: installed.Installed, namespace: str) -> int:
    """Captures of a namespace that are in progress."""
    names = os.listdir(handler.spool) if handler.spool.exists() else []
    captures = [handler.spool / name for name in names if name.endswith(".part")]
    return sum((capture / f"tenant.{namespace}").exists() for capture in captures)


def of_namespace(handler: installed.Installed, namespace: str) -> list[Path]:
    """Complete captures of a namespace."""
    return [
        entry
        for entry in handler.entries()
        if (entry / f"tenant.{namespace}").exists() and (entry / "meta.json").exists()
    ]


@pytest.mark.parametrize("mode", MODES)
def test_a_neighbour_is_captured_while_a_pod_refires_24_crashes(
    handler: installed.Installed, pod: pods.Pod, crasher: Path, tmp_path: Path, mode: str
) -> None:
    with (
        pods.running(tmp_path / "runtime", namespace="team-a", name="neighbour") as neighbour,
        capturing.owning(handler, mode, workers=128),
    ):
        with refiring(pod, 24, SPARSE_COMMAND):
            waiting.until("the flood", lambda: parts(handler, "shop") == 8, DEADLINE_S, 0.02)
            most = 0
            for _ in range(5):
                process = neighbour.start([crasher, "segv"], cwd="/")
                assert process.wait(DEADLINE_S) == -signal.SIGSEGV
                most = max(most, parts(handler, "shop"))
        waiting.until(
            "the neighbour's captures",
            lambda: len(of_namespace(handler, "team-a")) == 5,
            DEADLINE_S,
        )
        waiting.until("the end", lambda: not capturing.handlers(handler.host_dir), DEADLINE_S)
    assert most <= 8, "a pod that is alone has half of 16 slots"
    for entry in of_namespace(handler, "team-a"):
        record = capturing.read(entry)
        assert capturing.read(entry).namespace == "team-a"
        assert not record.raw["core"]["truncated"]["is"]


def test_beyond_its_share_of_handlers_a_pod_is_refused_at_once_and_named_in_the_log(
    handler: installed.Installed, pod: pods.Pod, crasher: Path, tmp_path: Path
) -> None:
    with (
        pods.running(tmp_path / "runtime", namespace="team-a", name="neighbour") as neighbour,
        kernellog.following() as lines,
        capturing.owning(handler, "pipe", workers=32),
    ):
        with refiring(pod, 20, SPARSE_COMMAND):
            refusals = waiting.until("refusals", lambda: refused(lines()), DEADLINE_S, 0.05)
            process = neighbour.start([crasher, "segv"], cwd="/")
            assert process.wait(DEADLINE_S) == -signal.SIGSEGV
        waiting.until("the end", lambda: not capturing.handlers(handler.host_dir), DEADLINE_S)
        refusals += refused(lines())
    assert len(of_namespace(handler, "team-a")) == 1
    assert all("of shop/web-0/app: its pod has its share, 8 of 32 slots" in one for one in refusals)


def refused(lines: list[str]) -> list[str]:
    return [line for line in lines if "refused crash" in line]


@pytest.mark.parametrize("above", ["lxc.payload.guest", "system.slice/x.service", "kubepods/a/b"])
def test_a_cgroup_that_other_software_nests_is_no_pod(
    handler: installed.Installed, pod: pods.Pod, crasher: Path, above: str
) -> None:
    handler.policy(runtimeStateDirs=[str(pod.state_dir)], hostCrashes="store")
    assert crash_below(handler, pod, crasher, above) == "_host"


def test_below_the_kubelets_root_a_pod_is_one(
    handler: installed.Installed, pod: pods.Pod, crasher: Path
) -> None:
    handler.policy(
        runtimeStateDirs=[str(pod.state_dir)], hostCrashes="store", cgroupRoot="/cd-nodes/a"
    )
    assert crash_below(handler, pod, crasher, "cd-nodes/a") == "shop"


def crash_below(
    handler: installed.Installed, pod: pods.Pod, crasher: Path, above: str
) -> str | None:
    """The namespace of a crash whose pod's cgroup is nested below `above`."""
    nested = pods.Pod(pod.state_dir, **pod.names)
    nested.path = f"/{above}{nested.path}"
    nested.write_state()
    made = []
    for hierarchy in nested.hierarchies:
        missing = [one for one in (hierarchy, *hierarchy.parents) if not one.exists()]
        hierarchy.mkdir(parents=True)
        made.append(missing)
    try:
        return capturing.read(capturing.crash(handler, nested, crasher, "segv")).namespace
    finally:
        for missing in made:
            for directory in missing:
                directory.rmdir()
