"""Handlers that the kernel runs, in the cgroups that the guard has made for them."""

from __future__ import annotations

import contextlib
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import waiting
from support.node import capturing, installed, kernellog, pods

from coredumpd.agent.node.handlers_cgroup import make, plan
from coredumpd.formats import handler_cgroups
from coredumpd.settings import file

pytestmark = capturing.needs_core_pattern
MODES = ["pipe", pytest.param("socket", marks=capturing.needs_sockets)]
DEADLINE_S = 60.0
SLOTS = 16
BOUNDS = plan.limits(file.check({"policy": {"captureSlots": SLOTS}}))
HOLD = "import mmap, os; room = mmap.mmap(-1, {bytes}); room.write(os.urandom({bytes})); os.abort()"


@pytest.fixture
def cgroups(handler: installed.Installed) -> Iterator[dict[str, Path]]:
    """The handlers' cgroup of each controller; removed afterwards."""
    problem = make.settle(handler.host_dir, BOUNDS)
    if problem is not None:
        pytest.skip(problem)
    procs = handler_cgroups.parse((handler.host_dir / "handler.cgroups").read_bytes())
    directories = [Path(one).parent for one in procs]
    assert len(directories) == len({one.stat().st_ino for one in directories})
    yield {
        controller: next(one for one in directories if list(one.glob(f"{controller}.*")))
        for controller in plan.CONTROLLERS
    }
    make.remove(handler.host_dir)
    assert [one for one in directories if one.exists()] == []


def value(directory: Path, v1: str, v2: str) -> int:
    path = directory / v2
    return int((path if path.exists() else directory / v1).read_text())


def kills(directory: Path) -> int:
    path = directory / "memory.events"
    text = (path if path.exists() else directory / "memory.oom_control").read_text()
    return int(dict(line.split() for line in text.splitlines())["oom_kill"])


@contextlib.contextmanager
def crashing(pod: pods.Pod, size: int) -> Iterator[subprocess.Popen[bytes]]:
    command = ["python3", "-I", "-S", "-c", HOLD.format(bytes=size)]
    process = pod.start(command, cwd="/", stderr=subprocess.DEVNULL)
    yield process
    assert process.wait(DEADLINE_S) == -signal.SIGABRT


@pytest.mark.parametrize("mode", MODES)
def test_a_handler_is_in_the_cgroups_before_it_compresses(
    handler: installed.Installed, pod: pods.Pod, cgroups: dict[str, Path], mode: str
) -> None:
    assert value(cgroups["cpu"], "cpu.shares", "cpu.weight") in (512, 50)

    def members() -> set[int]:
        running = set(capturing.handlers(handler.host_dir))
        inside = [set(map(int, (one / "cgroup.procs").read_text().split())) for one in places]
        return running & set.intersection(*inside)

    places = set(cgroups.values())
    with capturing.owning(handler, mode), crashing(pod, 300 << 20):
        waiting.until("a handler in its cgroups", members, DEADLINE_S, 0.005)
        waiting.until("the sandbox", lambda: not sandboxed_outside(handler, places), 1, 0.01)
    waiting.until("the dump", lambda: len(handler.entries()) == 1, DEADLINE_S)
    assert not capturing.read(handler.entries()[0]).truncated


def sandboxed_outside(handler: installed.Installed, places: set[Path]) -> set[int]:
    """Handlers that have given up their rights without being in every cgroup."""
    inside = [set(map(int, (one / "cgroup.procs").read_text().split())) for one in places]
    found = set()
    for pid in capturing.handlers(handler.host_dir):
        with contextlib.suppress(OSError):  # gone meanwhile
            if "Seccomp:\t2" in Path(f"/proc/{pid}/status").read_text():
                found.add(pid)
    return found - set.intersection(*inside)


def test_a_storm_that_fills_every_slot_stays_below_the_limit_and_loses_no_capture(
    handler: installed.Installed, cgroups: dict[str, Path], tmp_path: Path
) -> None:
    """Each namespace has a quarter of the slots, so it takes four to fill them."""
    handler.policy(runtimeStateDirs=[str(tmp_path / "runtime")], captureSlots=SLOTS)
    with contextlib.ExitStack() as stack:
        neighbours = [
            stack.enter_context(pods.running(tmp_path / "runtime", namespace=f"team-{number}"))
            for number in range(4)
        ]
        stack.enter_context(capturing.owning(handler, "pipe", workers=128))
        crashes = [
            stack.enter_context(crashing(pod, 48 << 20)) for _ in range(6) for pod in neighbours
        ]
    waiting.until("every dump", lambda: len(handler.entries()) == len(crashes), DEADLINE_S)
    assert not [one for one in handler.entries() if capturing.read(one).truncated]
    assert kills(cgroups["memory"]) == 0
    peak = value(cgroups["memory"], "memory.max_usage_in_bytes", "memory.peak")
    assert peak > 8 << 20, "the handlers' memory is not counted here"
    assert peak < BOUNDS.memory


@pytest.mark.parametrize("mode", MODES)
def test_cgroups_that_are_gone_cost_a_line_in_the_log_and_no_dump(
    handler: installed.Installed, pod: pods.Pod, mode: str
) -> None:
    path = handler.host_dir / "handler.cgroups"
    path.write_bytes(handler_cgroups.render(["/sys/fs/cgroup/coredumpd-gone"]))
    path.chmod(0o600)
    with kernellog.following() as lines:
        with capturing.owning(handler, mode), crashing(pod, 1 << 20):
            pass
        waiting.until("the dump", lambda: len(handler.entries()) == 1, DEADLINE_S)
        said = lines()
    assert [line for line in said if "capturing in no cgroup of its own" in line]
