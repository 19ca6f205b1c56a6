"""A download's place is for who reads: by a real socket whose owner hardly does."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import time
from collections.abc import Iterator

import pytest
from support import dumps, waiting
from support.server import servers, uploads

WINDOW_S = 2
CORE_BYTES = 24 << 20  # more than the sockets on the way hold
DEADLINE_S = 60


@pytest.fixture(scope="module")
def world(program: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[uploads.World]:
    made = uploads.World(tmp_path_factory.mktemp("slow") / "world", program)
    made.more = {"downloadMinRate": "64Ki", "downloadRateWindow": f"{WINDOW_S}s"}
    made.kube.pod("team-a", "web-0", dumps.POD_UID)
    with made.kube:
        server = made.start()
        yield made
        server.stop()


@pytest.fixture(scope="module")
def path(world: uploads.World) -> str:
    """Of the one dump's archive."""
    key, record, core = dumps.make(os.urandom(CORE_BYTES), namespaceUID="team-a-uid")
    world.store.commit(key, record, core)
    return f"{servers.BASE}/namespaces/team-a/coredumps/{key.id}/dump"


def metric(world: uploads.World, name: str) -> float:
    text = world.client("admin").ask("GET", "/metrics").body.decode()
    lines = [line for line in text.splitlines() if line.startswith(name)]
    return sum(float(line.rpartition(" ")[2]) for line in lines)


SLOW = "coredumpd_server_slow_downloads_total"


@contextlib.contextmanager
def downloading(world: uploads.World, path: str) -> Iterator[ssl.SSLSocket]:
    plain = socket.create_connection(("127.0.0.1", world.port), timeout=DEADLINE_S)
    plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
    context = ssl.create_default_context(cafile=str(world.authority.file))
    with context.wrap_socket(plain, server_hostname="127.0.0.1") as connection:
        words = f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer admin\r\n\r\n"
        connection.sendall(words.encode())
        yield connection


def rest(connection: ssl.SSLSocket, pause_s: float = 0.0) -> int:
    """Bytes until the server hangs up, or all of the core has come."""
    received = 0
    with contextlib.suppress(ssl.SSLError, ConnectionError):
        while received < CORE_BYTES and (data := connection.recv(256 * 1024)):
            received += len(data)
            time.sleep(pause_s)
    return received


@pytest.mark.parametrize("size", [1, 2048])
def test_who_reads_hardly_anything_is_cut_counted_and_named(world, path, size):
    before = metric(world, SLOW)
    with downloading(world, path) as connection:

        def is_cut() -> bool:
            connection.recv(size)
            return metric(world, SLOW) > before

        waiting.until("the cut", is_cut, DEADLINE_S, 0.1)
        used = 'coredumpd_server_places_used{kind="download"}'
        waiting.until("the place", lambda: metric(world, used) == 0, DEADLINE_S)
        assert rest(connection) < CORE_BYTES
    assert metric(world, SLOW) == before + 1
    assert "its client read less than 65536 bytes per second" in world.server.log.read_text()


def test_who_reads_at_a_modest_pace_gets_all_of_it(world, path):
    before = metric(world, SLOW)
    with downloading(world, path) as connection:
        assert rest(connection, 0.02) >= CORE_BYTES
    assert metric(world, SLOW) == before
