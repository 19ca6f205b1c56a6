"""The cost of a thousand idle watchers: memory and CPU each, and one event to all of them.

The peer holds as many TLS connections with Python's `ssl` and does nothing else: no server in
Python can cost less. Memory is resident; CPU is user and system, while nobody writes.
"""

from __future__ import annotations

import contextlib
import resource
import selectors
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
from support import pki
from support.server import servers

from bench import report

NEEDS = ("dist/coredumpd",)
WATCHERS = 1000
FIRST = 20  # of these; what they cost once is not counted
IDLE_S = 20.0
MEMORY_BAR = 3.0
URL = servers.BASE + "/namespaces/bench/coredumpendpoints"
_DEADLINE_S = 60.0


def run() -> Iterator[report.Line]:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # inherited by both servers
    with tempfile.TemporaryDirectory(prefix="cd-") as name:
        directory = Path(name)
        peer_kib = measure_peer(directory)
        ours_kib, alone, watched, told_s = measure_server(directory)
    yield report.Line("watch peer: TLS alone", f"{peer_kib:.1f} KiB each")
    yield report.Line("watch memory", f"{ours_kib:.1f} KiB each", ours_kib / peer_kib, MEMORY_BAR)
    yield report.Line("watch CPU without watchers", f"{alone:.2f} % of a core")
    yield report.Line(f"watch CPU, {WATCHERS} idle", f"{watched:.2f} % of a core")
    yield report.Line("watch one event to all", f"{told_s * 1000:.0f} ms")


def measure_peer(directory: Path) -> float:
    """KiB per connection."""
    certificate, key = pki.Authority(directory, "peer-ca").issue("peer")
    script = Path(__file__).with_name("idle_peer.py")
    command = [sys.executable, str(script), str(certificate), str(key)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as peer:
        try:
            assert peer.stdout is not None
            with contextlib.closing(Crowd(int(peer.stdout.readline()))) as crowd:
                return memory_each(psutil.Process(peer.pid), crowd, "GET / HTTP/1.1\r\n\r\n")
        finally:
            peer.kill()


def measure_server(directory: Path) -> tuple[float, float, float, float]:
    """(KiB per watcher, % of a core without and with them, seconds until all know of a write)."""
    data = directory / "data"
    arguments = ["--standalone", "--data-dir", str(data), "--port", "0"]
    with servers.running("frozen", arguments, directory / "server.log") as server:
        token = (data / "token").read_text().strip()
        headers = {"Authorization": f"Bearer {token}"}
        client = servers.Client(server.port, data / "tls.crt", None, headers)
        watch = f"GET {URL}?watch=true HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n"
        process = serving(server.process.pid, server.port)
        alone = idle_cpu(process)
        with contextlib.closing(Crowd(server.port)) as crowd:
            kib = memory_each(process, crowd, watch)
            watched = idle_cpu(process)
            begun = time.monotonic()
            body = {"metadata": {"name": "web-0"}, "spec": {"podUID": "1234-5678"}}
            reply = client.ask("POST", URL, body)
            assert reply.code == 201, reply.body
            crowd.wait_for(b"ADDED")
            return kib, alone, watched, time.monotonic() - begun


def memory_each(process: psutil.Process, crowd: Crowd, request: str) -> float:
    """KiB that a watcher adds."""
    crowd.join(FIRST, request)
    before = process.memory_info().rss
    crowd.join(WATCHERS - FIRST, request)
    return float(process.memory_info().rss - before) / 1024 / (WATCHERS - FIRST)


def idle_cpu(process: psutil.Process) -> float:
    """% of a core that `process` uses on average over a while."""
    begun, used = time.monotonic(), sum(process.cpu_times()[:2])
    time.sleep(IDLE_S)
    return float(sum(process.cpu_times()[:2]) - used) / (time.monotonic() - begun) * 100


class Crowd:
    """Clients that asked once and wait."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._context = ssl.create_default_context()
        self._context.check_hostname = False
        self._context.verify_mode = ssl.CERT_NONE
        self._members: list[ssl.SSLSocket] = []

    def join(self, count: int, request: str) -> None:
        """`count` more, each with the head of its answer read."""
        for _ in range(count):
            plain = socket.create_connection(("127.0.0.1", self._port), timeout=_DEADLINE_S)
            member = self._context.wrap_socket(plain)
            member.sendall(request.encode())
            head = b""
            while b"\r\n\r\n" not in head:
                data = member.recv(4096)
                assert data, head
                head += data
            assert b" 200 " in head.splitlines()[0], head
            self._members.append(member)

    def wait_for(self, word: bytes) -> None:
        """Until every member has been sent something with `word` in it."""
        end = time.monotonic() + _DEADLINE_S
        with selectors.DefaultSelector() as selector:
            for member in self._members:
                selector.register(member, selectors.EVENT_READ)
            left = len(self._members)
            while left and time.monotonic() < end:
                for key, _ in selector.select(1):
                    member = key.fileobj
                    assert isinstance(member, ssl.SSLSocket)
                    if word in member.recv(65536):
                        selector.unregister(member)
                        left -= 1
        assert not left, f"{left} were told nothing"

    def close(self) -> None:
        for member in self._members:
            member.close()


def serving(pid: int, port: int) -> psutil.Process:
    """The process that listens on `port`: a onefile executable runs in a child of its launcher."""
    family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    for process in family:
        listens = (each for each in process.net_connections("tcp") if each.status == "LISTEN")
        if process.pid != pid and any(each.laddr.port == port for each in listens):
            return process
    return family[0]
