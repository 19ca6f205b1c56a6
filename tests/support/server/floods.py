"""Many connections to a server at once, and the questions of others meanwhile."""

from __future__ import annotations

import contextlib
import http.client
import resource
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent import futures

from support.server import servers

_AT_ONCE = 32
_TIMEOUT_S = 60.0
_DESCRIPTORS = 12_000


def head(method: str, path: str, headers: Mapping[str, str]) -> bytes:
    """The head of a request."""
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"{method} {path} HTTP/1.1\r\nHost: here\r\n{lines}\r\n".encode()


class Flood:
    """Connections of `client` that each send one piece of data, and stay open.

    `codes` and `heads` are of their answers; 0 and b"" stand for a connection that was closed
    without one. Connections come in turn from 127.0.0.1 and the `addresses` - 1 that follow. Unless
    it `waits`, nobody reads an answer.
    """

    def __init__(self, client: servers.Client, addresses: int = 1, waits: bool = True) -> None:
        self.codes: list[int] = []
        self.heads: list[bytes] = []
        self._client = client
        self._addresses = addresses
        self._waits = waits
        self._sockets: list[socket.socket] = []

    def open(self, data: Sequence[bytes]) -> None:
        """One more connection for each of `data`; returns when all have sent it."""
        with futures.ThreadPoolExecutor(_AT_ONCE, "flood") as pool:
            for answer in pool.map(self._one, range(len(data)), data):
                self.heads.append(answer)
                self.codes.append(int(answer.split(b" ", 2)[1]) if answer else 0)

    def close(self) -> None:
        """Hang up on all."""
        for one in self._sockets:
            one.close()

    def _one(self, number: int, data: bytes) -> bytes:
        source = (f"127.0.0.{1 + number % self._addresses}", 0)
        answer = b""
        with contextlib.suppress(OSError):  # closed by the server: no answer
            raw = socket.create_connection(("127.0.0.1", self._client.port), _TIMEOUT_S, source)
            self._sockets.append(raw)
            secure = self._client.context.wrap_socket(raw, server_hostname="127.0.0.1")
            self._sockets.append(secure)
            secure.sendall(data)
            while self._waits and b"\r\n\r\n" not in answer:
                piece = secure.recv(4096)
                if not piece:
                    return b""
                answer += piece
        return answer if b"\r\n\r\n" in answer else b""


@contextlib.contextmanager
def flood(client: servers.Client, *, addresses: int = 1, waits: bool = True) -> Iterator[Flood]:
    """A Flood that is over at the end of the block; this process may open files enough for it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = _DESCRIPTORS if hard == resource.RLIM_INFINITY else min(_DESCRIPTORS, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, most), hard))
    made = Flood(client, addresses, waits)
    try:
        yield made
    finally:
        made.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@contextlib.contextmanager
def repeated(work: Callable[[], object], threads: int) -> Iterator[None]:
    """Do `work` again and again, in so many threads, while the block runs.

    What the other side refuses or closes is part of a flood: errors of sockets are ignored.
    """
    over = threading.Event()

    def run() -> None:
        while not over.is_set():
            with contextlib.suppress(OSError, http.client.HTTPException):
                work()

    running = [threading.Thread(target=run, name="flood") for _ in range(threads)]
    for thread in running:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in running:
            thread.join()


def slowest_while(
    work: Callable[[], object], questions: Mapping[str, Callable[[], servers.Reply]]
) -> dict[str, float]:
    """Ask all `questions` again and again while `work` runs; seconds of the slowest answer of each.

    Each question is one request on a connection of its own; each must be answered 200.
    """
    with futures.ThreadPoolExecutor(len(questions) + 1, "asking") as pool:
        working = pool.submit(work)

        def ask(name: str) -> float:
            slowest, is_last = 0.0, False
            while not is_last:
                is_last = working.done()
                began = time.monotonic()
                try:
                    reply = questions[name]()
                except (OSError, ssl.SSLError) as error:
                    raise AssertionError(f"{name}: no answer") from error
                slowest = max(slowest, time.monotonic() - began)
                assert reply.code == 200, (name, reply.code, reply.body)
            return slowest

        slowest = dict(zip(questions, pool.map(ask, questions), strict=True))
        working.result()
    return slowest
