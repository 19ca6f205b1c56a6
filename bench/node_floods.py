"""Floods of a node: strangers at the shipper's ports, a full spool, crashes. Used by `fairness`.

Guard and shipper run as in the manifest: two frozen processes, the shipper without a capability,
each in a cgroup of its own memory limit.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
import signal
import socket
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from support import crashers, dumps, waiting
from support.kube import fakekube, podspecs
from support.node import agents, capturing, corepattern, hostdirs, memory, pods
from support.server import floods

from bench import neighbour, questions, report

GUARD_LIMIT, SHIPPER_LIMIT = 192 * neighbour.MIB, 256 * neighbour.MIB  # deploy.sh
SERVER_GROUP = 65532  # deploy.sh: the shipper's group
CRASHES, PAUSE_S = 11, 1.5
FLOODERS, SPARSE_GIB = 24, 20
WAITING, WAITING_BYTES = 200, 512 * 1024
SHARES = 4  # a namespace may have a quarter of the spool
STORED_S = 60.0
STRANGER = "127.0.0.2"
IDLE, BODY_BYTES = 1100, 100_000_000


@dataclasses.dataclass
class Node:
    """Both halves of an agent with their cgroups, and its pods' directory."""

    guard: agents.Agent
    shipper: agents.Agent
    groups: tuple[memory.Limited, memory.Limited]
    kube: fakekube.FakeKube
    runtime: Path

    def port(self, name: str) -> int:
        """Of `metrics` or `probes`."""
        return int(re.findall(rf"{name} on port (\d+)", self.shipper.logged())[-1])

    def questions(self) -> list[questions.Question]:
        """Prometheus's and the kubelet's."""
        return [
            questions.Question(self.port("metrics"), "/metrics", "127.0.0.200"),
            questions.Question(self.port("probes"), "/livez", "127.0.0.201"),
            questions.Question(self.port("probes"), "/healthz", "127.0.0.201"),
        ]

    def memory(self, name: str) -> Iterator[report.Line]:
        """Of each half. Handlers and the listener run in the root cgroup, as the kernel's own."""
        for half, group, limit in zip(
            ("guard", "shipper"), self.groups, (GUARD_LIMIT, SHIPPER_LIMIT), strict=True
        ):
            yield neighbour.memory(f"{name}: {half}", group.pids(), limit)


def lines(directory: Path) -> Iterator[report.Line]:
    """Every flood, each on a node of its own."""
    if not corepattern.writable():
        yield report.skipped("fairness of a node", "core_pattern is not writable here")
        return
    yield from strangers(directory / "strangers")
    yield from full_spool(directory / "spool")
    for mode in capturing.MODES:
        if mode == "socket" and not capturing.has_sockets():
            yield report.skipped("fairness crashes by socket", "this kernel has no sockets")
            continue
        yield from crashes(directory / mode, mode)


@contextlib.contextmanager
def running(directory: Path, mode: str, **policy: object) -> Iterator[Node]:
    """A node whose crashes go to us by `mode`."""
    directory.mkdir()
    (directory / "kube").mkdir()
    host_dir = Path(tempfile.mkdtemp(prefix="cd-", dir=hostdirs.ROOTED))
    runtime = directory / "runtime"
    with (
        corepattern.borrowed(),
        fakekube.FakeKube(directory / "kube") as kube,
        memory.limited(GUARD_LIMIT) as of_guard,
        memory.limited(SHIPPER_LIMIT) as of_shipper,
        agents.node(directory / "guard", host_dir, "frozen") as guard,
        agents.node(directory / "shipper", host_dir, "frozen") as shipper,
    ):
        for half in (guard, shipper):
            half.policy = {"runtimeStateDirs": [str(runtime)], **policy}
            half.settings["capture"] = mode
            half.extra["crashLoop"] = {"window": "0"}  # every crash of the neighbour's counts
        guard.ready = "the guard of node node1 is ready"
        guard.start(command="guard", before=of_guard.prefix)
        os.chown(shipper.store, 0, SERVER_GROUP)
        shipper.store.chmod(0o770)
        without_rights = [*of_shipper.prefix, *agents.POWERLESS]
        words = ("--kubeconfig", str(kube.kubeconfig()))
        shipper.start(*words, command="ship", before=without_rights)
        yield Node(guard, shipper, (of_guard, of_shipper), kube, runtime)
    hostdirs.remove(host_dir)


@contextlib.contextmanager
def pod_of(node: Node, namespace: str) -> Iterator[pods.Pod]:
    """A pod that the node and the API know."""
    of_namespace = podspecs.namespace(namespace)
    node.kube.objects[f"/api/v1/namespaces/{namespace}"] = of_namespace
    with pods.running(node.runtime, namespace=namespace, name="web") as pod:
        document = podspecs.pod(namespace, "web", pod.uid)
        node.kube.objects[f"/api/v1/namespaces/{namespace}/pods/web"] = document
        node.kube.objects[f"/api/v1/pods/{namespace}.web"] = document
        yield pod


def crash_again_and_again(name: str, node: Node, program: Path) -> Iterator[report.Line]:
    """CRASHES of the second tenant's pod: how long each holds its process, and which are stored."""
    with pod_of(node, "neighbour") as pod, neighbour.asking(node.questions()) as answers:
        gone_s = []
        for _ in range(CRASHES):
            process = pod.start([program, "abort"], cwd="/")
            begun = time.monotonic()
            assert process.wait(300) == -signal.SIGABRT
            gone_s.append(time.monotonic() - begun)
            time.sleep(PAUSE_S)

        def whole() -> list[str]:
            keys = [key for key in node.shipper.stored() if key.startswith("neighbour/")]
            return [key for key in keys if not node.shipper.record(key)["core"]["truncated"]["is"]]

        with contextlib.suppress(waiting.Failed):  # the bar tells
            waiting.until("its dumps", lambda: len(whole()) == CRASHES, STORED_S)
    yield from answers.lines(name)
    middle, last = statistics.median(gone_s), max(gone_s)
    share = last / neighbour.ANSWER_S_MAX
    value = f"{middle * 1000:.0f}, {last * 1000:.0f} ms"
    yield report.Line(f"{name}: neighbour gone, median, slowest", value, share, at_most=1)
    yield neighbour.stored(name, len(whole()), CRASHES)
    yield from node.memory(name)


def crashes(directory: Path, mode: str) -> Iterator[report.Line]:
    """One pod's sparse processes crash without a pause."""
    with running(directory, mode) as node, pod_of(node, "greedy") as greedy:
        program = crashers.compiled("crasher", directory)
        sparse = [crashers.compiled("crasher_sparse", directory), str(SPARSE_GIB)]
        over = threading.Event()

        def refire() -> None:
            while not over.is_set():
                greedy.start(sparse, cwd="/").wait(300)

        threads = [threading.Thread(target=refire) for _ in range(FLOODERS)]
        for thread in threads:
            thread.start()
        try:
            time.sleep(PAUSE_S)
            yield from crash_again_and_again(f"fairness crashes by {mode}", node, program)
        finally:
            over.set()
            for thread in threads:
                thread.join()
        for reason, number in sorted(node.shipper.skipped().items()):
            yield report.Line(f"fairness crashes by {mode}: skipped, {reason}", f"{number}")


def full_spool(directory: Path) -> Iterator[report.Line]:
    """A namespace whose cores cannot be sealed has its share of the spool, and crashes on."""
    size = WAITING * WAITING_BYTES * SHARES
    with running(directory, "pipe", spoolMaxUse=str(size)) as node:
        program = crashers.compiled("crasher", directory)
        annotations = {"coredump.fujitsu.com/encrypt-to": "nothing-of-this-name"}
        meta = {"name": "greedy", "uid": "uid-greedy", "annotations": annotations}
        node.kube.objects["/api/v1/namespaces/greedy"] = {"metadata": meta}
        for number in range(WAITING):
            core = os.urandom(WAITING_BYTES)
            id, container = f"a-{number}", f"{number:064d}"
            seen = {"namespace": "greedy", "namespaceUID": "uid-greedy"}
            dumps.spooled(node.guard.spool, id, core, containerID=container, **seen)
        with pods.running(node.runtime, namespace="greedy", name="web") as greedy:
            crashing = floods.repeated(lambda: greedy.start([program, "abort"], cwd="/").wait(), 2)
            with crashing:
                yield from crash_again_and_again("fairness full spool", node, program)


def strangers(directory: Path) -> Iterator[report.Line]:
    """Idle connections, large bodies and heads that never end, at both ports of the shipper."""
    with running(directory, "pipe") as node, contextlib.ExitStack() as stack:
        program = crashers.compiled("crasher", directory)
        over = threading.Event()

        def post(port: int) -> None:
            while not over.is_set():
                with contextlib.suppress(OSError), connected(port) as stranger:
                    head = f"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: {BODY_BYTES}\r\n\r\n"
                    stranger.sendall(head.encode())
                    for _ in range(BODY_BYTES // 65536):
                        stranger.sendall(b"x" * 65536)

        ports = [node.port("metrics"), node.port("probes")]
        threads = [threading.Thread(target=post, args=(port,)) for port in ports * 4]
        for thread in threads:
            thread.start()
        try:
            for port in ports:
                for number in range(IDLE // 2):
                    with contextlib.suppress(OSError):
                        stranger = stack.enter_context(connected(port))
                        stranger.sendall(b"GET /metrics HTTP/1.1\r\n"[: number % 24])
            yield from crash_again_and_again("fairness strangers", node, program)
        finally:
            over.set()
            for thread in threads:
                thread.join()


def connected(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), 20, source_address=(STRANGER, 0))
