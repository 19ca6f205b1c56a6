"""What strangers do to the agent's port: it lives, ships, and answers the kubelet."""

from __future__ import annotations

import contextlib
import re
import resource
import socket
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import dumps, waiting
from support.node import agents

MEMORY_LIMIT = 256 * 1024**2  # of the shipper in deploy.sh, and of the whole agent here
FILES_MAX = 1024  # RLIMIT_NOFILE in many containers
LOG_BYTES_MAX = 256 * 1024
ANSWER_S = 10.0  # promised: 2 s; the machine may be busy
STRANGER = "127.0.0.2"  # another address than the kubelet's


@pytest.fixture
def descriptors() -> Iterator[None]:
    """Room for our own ends of the flood."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(8192, hard), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture
def agent(node: agents.Agent, descriptors: None) -> agents.Agent:
    limit = ("prlimit", f"--nofile={FILES_MAX}:{FILES_MAX}")
    node.start("--no-kubernetes", "--no-core-pattern", before=limit)
    return node


def port(agent: agents.Agent, name: str) -> int:
    return int(re.findall(rf"{name} on port (\d+)", agent.logged())[-1])


def connect(agent: agents.Agent, name: str = "metrics") -> socket.socket:
    stranger = socket.socket()
    stranger.bind((STRANGER, 0))
    stranger.settimeout(20)
    stranger.connect(("127.0.0.1", port(agent, name)))
    return stranger


def is_well(agent: agents.Agent, dump: str) -> None:
    """The kubelet gets its answer, a waiting dump is shipped, and nothing has grown."""
    for path in ("livez", "healthz"):
        began_s = time.monotonic()
        url = f"http://127.0.0.1:{port(agent, 'probes')}/{path}"
        with urllib.request.urlopen(url, timeout=ANSWER_S) as answer:
            assert answer.read() == b"ok\n"
        assert time.monotonic() - began_s < ANSWER_S
    before = len(agent.stored())
    dumps.spooled(agent.spool, dump)
    waiting.until("the dump to be shipped", lambda: len(agent.stored()) == before + 1, 60, 0.05)
    assert agent.process is not None
    assert agent.process.poll() is None
    assert high_water_bytes(agent) < MEMORY_LIMIT
    assert agent.log.stat().st_size < LOG_BYTES_MAX


def high_water_bytes(agent: agents.Agent) -> int:
    """The most that it ever had in memory, a onefile executable's two processes together."""
    assert agent.process is not None
    pid = agent.process.pid
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    texts = [Path(f"/proc/{one}/status").read_text() for one in (pid, *children)]
    return sum(int(re.findall(r"VmHWM:\s+(\d+)", text)[0]) * 1024 for text in texts)


def test_four_bodies_of_100_mb_are_refused_unread(agent):
    sent = [0] * 4

    def post(number: int) -> None:
        with connect(agent) as stranger, contextlib.suppress(OSError):
            head = b"POST /metrics HTTP/1.1\r\nHost: h\r\nContent-Length: 104857600\r\n\r\n"
            stranger.sendall(head)
            while sent[number] < 104857600:
                sent[number] += stranger.send(b"x" * 65536)

    floods = [threading.Thread(target=post, args=(number,)) for number in range(4)]
    for flood in floods:
        flood.start()
    is_well(agent, "a-1")
    for flood in floods:
        flood.join(60)
    assert max(sent) < 32 * 1024**2  # what socket buffers hold


@pytest.mark.parametrize("name", ["metrics", "probes"])
def test_1100_idle_connections_take_no_descriptor_that_is_needed(agent, name):
    with contextlib.ExitStack() as stack:
        for _ in range(1100):
            stack.enter_context(connect(agent, name))
        is_well(agent, "a-1")
        assert agent.get("/metrics")[0] == 200


def test_heads_that_never_end_hold_nobody_up(agent):
    with contextlib.ExitStack() as stack:
        slow = [stack.enter_context(connect(agent)) for _ in range(200)]
        for round_ in range(5):
            for one in slow:
                with contextlib.suppress(OSError):  # closed: it was one too many
                    one.send(b"GET /metrics HTTP/1.1\r\nX: "[round_ * 4 : round_ * 4 + 4])
            is_well(agent, f"a-{round_}")


def test_answers_that_nobody_reads_pile_up_nowhere(agent):
    with contextlib.ExitStack() as stack:
        for _ in range(20):
            stranger = stack.enter_context(connect(agent))
            stranger.settimeout(0.5)
            with contextlib.suppress(OSError):  # it takes no more, as it should
                for _ in range(2000):
                    stranger.sendall(b"GET /metrics HTTP/1.1\r\nHost: h\r\n\r\n" * 100)
        is_well(agent, "a-1")


def test_a_busy_stranger_does_not_keep_a_scan_from_the_spool(agent):
    """Connections come and go all the time, also at the kubelet's port."""
    over = threading.Event()

    def come_and_go(name: str) -> None:
        while not over.is_set():
            with contextlib.suppress(OSError), connect(agent, name) as stranger:
                stranger.sendall(b"GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n")
                stranger.recv(100)

    floods = [
        threading.Thread(target=come_and_go, args=(name,)) for name in ("metrics", "probes") * 4
    ]
    for flood in floods:
        flood.start()
    try:
        for number in range(3):
            is_well(agent, f"a-{number}")
    finally:
        over.set()
        for flood in floods:
            flood.join(60)
