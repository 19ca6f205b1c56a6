"""Containers that go on crashing whatever their node's store does, and what became of each crash.

A crash is the installed handler run by hand, as the kernel would run it, so that core_pattern, of
which a machine has one, is left alone.
"""

from __future__ import annotations

import contextlib
import gzip
import os
import re
import subprocess
import threading
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from coredumpd.formats import layout, names
from coredumpd.store import interface
from support import cores, waiting
from support.kube import fakekube
from support.node import agents, installed, pods

CORE_BYTES = 400_000
SPOOL_BYTES_MAX = 6 * CORE_BYTES
_EMPTY_BYTES = 20  # a record alone still has a core.gz, which gunzip takes: of nothing
_BEGUN_S = 1_790_000_000  # crash number n says it happened n seconds after this
_HANDLER_S = 60


class Story(NamedTuple):
    """What is in the store, by the numbers of the crashes."""

    whole: list[int]
    cut: list[int]  # records alone, because the spool was full


class Crashes:
    """Crashes of three containers on `node`, in turn; each has its number in its time."""

    def __init__(self, node: agents.Agent, directory: Path, stack: contextlib.ExitStack) -> None:
        """Their processes and cgroups end with `stack`."""
        self.node = node
        self.count = 0
        self.handler = installed.Installed(node.host_dir, node.kind)
        state = directory / "runtime"
        node.policy |= {
            "runtimeStateDirs": [str(state)],
            "spoolMaxUse": 4 * SPOOL_BYTES_MAX,  # of which one namespace has a quarter
            "spoolKeepFree": 0,
        }
        node.extra["crashLoop"] = {"window": "0"}  # all of these are the same crash
        containers = [stack.enter_context(_container(state, f"c{number}")) for number in range(3)]
        self.pods = [pod for pod, _ in containers]
        self._victims = [process for _, process in containers]

    def crash(self) -> None:
        """The next one, captured by the time this returns, whatever the store does."""
        number = self.count
        victim = self._victims[number % len(self._victims)]
        pidfd = os.pidfd_open(victim.pid)
        try:
            os.set_inheritable(pidfd, True)
            words = installed.arguments(victim, pidfd=pidfd, time=_BEGUN_S + number)
            done = subprocess.run(
                [self.handler.executable, "handle", *words],
                input=core_of(number),
                capture_output=True,
                env={},
                close_fds=False,
                timeout=_HANDLER_S,
            )
        finally:
            os.close(pidfd)
        assert (done.returncode, done.stderr) == (0, b"")
        self.count += 1

    @contextlib.contextmanager
    def going_on(self, every_s: float) -> Iterator[None]:
        """One every `every_s` while the block runs, from a thread; a crash that fails, fails it."""
        over, failures = threading.Event(), []

        def go_on() -> None:
            try:
                while not over.is_set():
                    begun_s = time.monotonic()
                    self.crash()
                    over.wait(max(0.0, begun_s + every_s - time.monotonic()))
            except BaseException as error:  # noqa: BLE001 (raised by the block's end)
                failures.append(error)

        thread = threading.Thread(target=go_on, name="crashes")
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()
        if failures:
            raise failures[0]

    def spooled_bytes(self) -> int:
        """What the spool's cores take, those that hold nothing left out."""
        total = 0
        for path in self.node.spool.glob("*/core.gz"):
            with contextlib.suppress(FileNotFoundError):  # shipped meanwhile
                size = path.stat().st_size
                total += size if size > _EMPTY_BYTES else 0
        return total

    def arrived(self, store: interface.Store, deadline_s: float = 120) -> Story:
        """Once the spool is empty: every crash is in `store` exactly once, as it was, in order."""
        waiting.until("the spool to be empty", lambda: not os.listdir(self.node.spool), deadline_s)
        story = Story([], [])
        for key in store.list():
            number = names.id_time(key.id) - _BEGUN_S
            assert key.container == f"c{number % len(self._victims)}"
            (story.cut if _is_cut(store, key, number) else story.whole).append(number)
        assert sorted(story.whole + story.cut) == list(range(self.count))
        self._in_order()
        return story

    def _in_order(self) -> None:
        """By the agent's log: those of one container were shipped in the order of their crashes."""
        shipped = re.findall(r"shipped [\w-]+/[\w-]+/(c\d)/([\w.-]+)", self.node.logged())
        for container in {container for container, _ in shipped}:
            times = [names.id_time(id) for mine, id in shipped if mine == container]
            assert times == sorted(times)


class Tale:
    """One node with its crashes, from the first dump to the last."""

    def __init__(
        self, node: agents.Agent, kube: fakekube.FakeKube, crashes: Crashes, stuck_s: float
    ) -> None:
        """`stuck_s`: the agent's stuckAfter."""
        self.node, self.kube, self.crashes = node, kube, crashes
        self.stuck_s = stuck_s

    def begin(self, store: interface.Store) -> None:
        """An agent that ships, and is well."""
        self.node.start("--kubeconfig", str(self.kube.kubeconfig()), "--no-core-pattern")
        for _ in range(3):
            self.crashes.crash()
        self.crashes.arrived(store)
        assert self.node.get("/healthz") == (200, "ok\n")

    def suffer(self, why: str) -> None:
        """Until the spool is full, and the agent has said `why` in every way it can."""
        crashes, first = self.crashes, self.crashes.count
        with crashes.going_on(0.4):
            waiting.until("healthz to fail", lambda: self.node.get("/healthz")[0] == 503, 60)
            waiting.until("an Event", lambda: told(self.kube, "CoreDumpsStuck"), 60)
            waiting.until("the spool to be full", lambda: crashes.count > first + 9, 120)
            assert re.search(why, self.node.get("/healthz")[1])
            assert re.search(why, told(self.kube, "CoreDumpsStuck")[0])
            assert crashes.spooled_bytes() <= SPOOL_BYTES_MAX
            assert measured(self.node, "spool_entries") > 6
            assert measured(self.node, "ship_(?:failing|silent)_seconds") > self.stuck_s

    def end(self, store: interface.Store) -> None:
        """Everything has arrived, and the agent is well again."""
        story = self.crashes.arrived(store)
        assert story.cut, "the spool's limit was reached"
        waiting.until("healthz", lambda: self.node.get("/healthz") == (200, "ok\n"), 30)
        assert measured(self.node, "shipped_total") == self.crashes.count
        waiting.until("the end to be told", lambda: told(self.kube, "CoreDumpsResumed"), 30)
        self.node.stop()


def measured(node: agents.Agent, name: str) -> float:
    """A metric of the agent's, over all its labels."""
    found = re.findall(
        rf"^coredumpd_agent_{name}(?:{{.*}})? (\S+)$", node.get("/metrics")[1], re.MULTILINE
    )
    return sum(map(float, found))


def told(kube: fakekube.FakeKube, reason: str) -> list[str]:
    """The messages of the Events of that reason."""
    return [event["message"] for event in kube.created("events") if event["reason"] == reason]


def states(pid: int) -> list[str]:
    """Of a process's threads (proc(5)), the main one first."""
    files = sorted(Path(f"/proc/{pid}/task").iterdir(), key=lambda path: int(path.name))
    return [(path / "stat").read_text().rpartition(")")[2].split()[0] for path in files]


def core_of(number: int) -> bytes:
    """The core of crash `number`."""
    return cores.elf(CORE_BYTES, number)


def _is_cut(store: interface.Store, key: layout.DumpKey, number: int) -> bool:
    """Compares a stored dump with its crash; is it a record alone?"""
    said = store.read_record(key).raw["core"]
    opened = store.open_core(key)
    try:
        core = gzip.decompress(opened.read_at(0, opened.size))
    finally:
        opened.close()
    assert (len(core), f"{zlib.crc32(core):08x}") == (said["size"], said["crc32"])
    if said["truncated"]["is"]:
        assert "spoolMaxUse" in said["truncated"]["reason"]
        assert core == b""
        return True
    assert core == core_of(number)
    return False


@contextlib.contextmanager
def _container(state: Path, name: str) -> Iterator[tuple[pods.Pod, subprocess.Popen[bytes]]]:
    """A pod with a container, and a living process of it."""
    with pods.running(state, name=f"web-{name}", container=name) as pod:
        process = pod.start(["sleep", "infinity"])
        try:
            yield pod, process
        finally:
            process.kill()
            process.wait()
