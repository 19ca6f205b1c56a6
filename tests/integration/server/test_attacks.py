"""Hostile paths, queries and bodies: refused as Status, nothing outside the store is opened."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import resource
import socket
import threading
import time

import asyncinotify
import psutil
import pytest
from support import dumps, waiting
from support.server import floods, payloads, servers

HEADERS = {"X-Remote-User": "mallory"}
NAMES = (
    "..",
    "%2e%2e",
    "..%2f..%2fcanary",
    "%2e%2e%2f%2e%2e%2fcanary",
    "..%5ccanary",
    "%00",
    "x%00y",
    "%ff%fe",
    "%c3%a9",
    "%e2%80%ae",
    "a" * 10_000,
    "%252e%252e%252fcanary",
    "canary%0d%0aX-Injected:%20yes",
    "-",
    "UPPER",
    "_host",
    ".hidden",
)
PATHS = (
    "/namespaces/{}/coredumpendpoints",
    "/namespaces/{}/coredumps",
    "/namespaces/{}/coredumps/x/dump",
    "/namespaces/team-a/coredumps/{}",
    "/namespaces/team-a/coredumps/{}/dump",
    "/namespaces/team-a/coredumps/{}/backtrace",
    "/namespaces/team-a/coredumpendpoints/{}",
    "/namespaces/team-a/coredumpendpoints/{}/dump",
    "/namespaces/team-a/coredumps/x/dump?id={}",
    "/namespaces/team-a/coredumpendpoints/x/dump?container={}",
    "/{}",
    "/namespaces/team-a/{}",
)


@contextlib.contextmanager
def nobody_opens(directory):
    """Fails when anything in `directory` is opened meanwhile."""
    with asyncinotify.Inotify() as inotify:
        inotify.add_watch(directory, asyncinotify.Mask.OPEN | asyncinotify.Mask.ACCESS)
        yield

        async def opened():
            with contextlib.suppress(TimeoutError):
                return await asyncio.wait_for(inotify.get(), 0.3)

        event = asyncio.run(opened())
        assert event is None, f"{event.path} was opened"


@pytest.mark.parametrize("path", PATHS)
def test_a_hostile_name_is_refused_and_nothing_outside_is_opened(world, path):
    canary = world.directory / "canary"
    canary.mkdir(exist_ok=True)
    (canary / "meta.json").write_text("the canary sings")
    client = world.proxied("mallory")
    body = {"metadata": {"name": "x"}, "spec": {"podUID": "1"}}
    with nobody_opens(canary):
        for name in NAMES:
            for method in ("GET", "DELETE", "POST"):
                url = servers.BASE + path.format(name)
                reply = client.ask(method, url, body if method == "POST" else None)
                assert reply.code in (200, 400, 404, 405, 422), (method, name, reply.body)
                assert b"sings" not in reply.body
                assert "X-Injected" not in reply.headers
                if reply.code >= 400:
                    assert reply.json["code"] == reply.code
                    assert reply.json["details"]["causes"]


RAW = (
    b"/\x00",
    servers.BASE.encode() + b"/namespaces/team-a/coredumps/x\x00y/dump",
    servers.BASE.encode() + "/namespaces/é/coredumps/ü/dump".encode(),
    servers.BASE.encode() + b"/namespaces/\xff\xfe/coredumps/x",
    servers.BASE.encode() + b"/namespaces/team-a/coredumps/../../../../canary",
    b"/../../canary/meta.json",
    b"//canary/meta.json",
    b"https://127.0.0.1" + servers.BASE.encode() + b"/namespaces/team-a/coredumps/../canary",
    b"file:///canary/meta.json",
    b"canary/meta.json",
    b"*",
    b"/" + b"a" * 10_000,
    b"/a b",
)


@pytest.mark.parametrize("target", RAW, ids=lambda target: ascii(target[-40:]))
def test_a_hostile_request_target_is_refused_byte_for_byte(world, target):
    canary = world.directory / "canary"
    canary.mkdir(exist_ok=True)
    (canary / "meta.json").write_text("the canary sings")
    client = world.proxied("mallory")
    head = b"GET " + target + b" HTTP/1.1\r\nHost: here\r\nX-Remote-User: mallory\r\n"
    with nobody_opens(canary), contextlib.closing(client.connect()) as connection:
        connection.connect()
        connection.sock.sendall(head + b"Connection: close\r\n\r\n")
        with connection.sock.makefile("rb") as reply:
            answer = reply.read()
    assert int(answer.split(b" ", 2)[1]) in (400, 404), answer
    assert b"sings" not in answer


def test_a_planted_symlink_is_not_followed(world):
    outside = world.directory / "outside"
    outside.mkdir()
    (outside / "meta.json").write_text("{}")
    place = world.directory / "store" / "team-a" / "uid-link" / "app"
    place.mkdir(parents=True)
    (place / "linked-1").symlink_to(outside)
    (world.directory / "store" / "team-c").symlink_to(world.directory / "outside")
    client = world.proxied("mallory")
    with nobody_opens(outside):
        assert client.ask("GET", servers.BASE + "/namespaces/team-a/coredumps").code == 200
        assert client.ask("GET", servers.BASE + "/namespaces/team-c/coredumps").code == 200
        reply = client.ask("GET", servers.BASE + "/namespaces/team-a/coredumps/linked-1/dump")
        assert reply.code == 404


def test_huge_headers_and_bodies_are_bounded(world):
    client = world.proxied("mallory")
    url = servers.BASE + "/namespaces/team-a/coredumpendpoints"
    with pytest.raises((http.client.HTTPException, OSError)):
        client.ask("GET", url, headers={"X-Big": "x" * 200_000})
    connection = client.connect()
    connection.putrequest("POST", url)
    for name, value in {**client.headers, "Transfer-Encoding": "chunked"}.items():
        connection.putheader(name, value)
    connection.endheaders()
    with contextlib.suppress(OSError):  # the server stops reading
        for _ in range(64):
            connection.send(b"10000\r\n" + b"x" * 0x10000 + b"\r\n")
    with contextlib.suppress(http.client.HTTPException, OSError):  # cut, or told
        assert connection.getresponse().status in (400, 413)
    connection.close()
    assert client.ask("GET", "/livez").code == 200


def test_a_body_of_many_tiny_chunks_is_refused_and_one_of_few_is_read(world):
    """Each chunk costs time, whatever it holds: a body of nothing else would be half a minute."""
    client = world.proxied("mallory")
    headers = {**client.headers, "Transfer-Encoding": "chunked", "Content-Type": "application/json"}
    head = floods.head("POST", ENDPOINTS, headers)

    def code(chunks):
        sent = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks)
        with contextlib.closing(client.connect()) as connection:
            connection.connect()
            with contextlib.suppress(OSError):  # the server has answered and does not read on
                connection.sock.sendall(head + sent + b"0\r\n\r\n")
            return int(connection.sock.recv(65536).split(b" ", 2)[1])

    body = b'{"spec": {"podUID": "uid-1"}, "metadata": {"name": "in-chunks"}}'
    assert code([body, *[b" "] * 2000]) == 400
    for most in (64, 1):
        assert code([body[at : at + most] for at in range(0, len(body), most)]) == 201
        assert client.ask("DELETE", f"{ENDPOINTS}/in-chunks").code == 200


@pytest.mark.parametrize(
    ("path", "size", "who", "code"),
    [
        ("/namespaces/team-a/coredumpendpoints", 1_100_000, "alice", 413),
        ("/namespaces/team-a/coredumpendpoints", 100_000, None, 401),
        ("/namespaces/team-a/coredumpendpoints", 100_000, "refused", 403),
        ("/namespaces/team-a/nothing", 100_000, "alice", 404),
    ],
)
def test_who_is_refused_while_sending_hears_why_and_may_go_on(
    world, monkeypatch, path, size, who, code
):
    monkeypatch.setattr(world.kube, "may", lambda spec: spec["user"] != "refused")
    client = world.proxied(who or "alice")
    headers = client.headers if who else {"Authorization": "Bearer wrong"}
    with contextlib.closing(client.connect()) as connection:
        connection.putrequest("POST", servers.BASE + path)
        for name, value in {**headers, "Content-Length": str(size)}.items():
            connection.putheader(name, value)
        connection.endheaders()
        # Each piece is a round trip: a server that hangs up behind its answer would be met.
        for _ in range(10):
            connection.send(b"x" * (size // 10))
            assert client.ask("GET", "/livez").code == 200
        answer = connection.getresponse()
        assert json.loads(answer.read())["code"] == answer.status == code
        connection.request("GET", "/livez", headers=client.headers)
        assert connection.getresponse().status == 200


def test_connections_that_say_nothing_do_not_keep_others_out(world):
    silent = [socket.create_connection(("127.0.0.1", world.server.port)) for _ in range(300)]
    try:
        assert world.proxied("somebody").ask("GET", "/livez").code == 200
    finally:
        for one in silent:
            one.close()


def test_ten_thousand_connections_are_bounded_and_others_are_answered(world):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 11_000:
        pytest.skip(f"RLIMIT_NOFILE is {hard}: 10,000 connections cannot be opened from here")
    client = world.proxied("patient")
    before = resident(world.server.process)
    with contextlib.ExitStack() as held:
        held.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 11_000), hard))
        for number in range(10_000):
            address = (f"127.0.0.{2 + number % 8}", 0)
            where = ("127.0.0.1", world.server.port)
            held.enter_context(socket.create_connection(where, 60, source_address=address))
            if number % 1000 == 0:
                assert client.ask("GET", "/livez").code == 200
        assert client.ask("GET", servers.BASE + "/namespaces/team-a/coredumps").code == 200
        assert accepted(world.server) <= 4096 + 16  # connectionsMax, and newcomers being closed
        growth = resident(world.server.process) - before
        print(f"10,000 connections: +{growth / 2**20:.0f} MiB")
        assert growth < 300 * 2**20


def resident(process) -> int:
    """Bytes of memory of a process and its children: a frozen server is two."""
    parent = psutil.Process(process.pid)
    return sum(one.memory_info().rss for one in (parent, *parent.children(recursive=True)))


def accepted(server) -> int:
    """How many connections to its port a server holds."""
    parent = psutil.Process(server.process.pid)
    return sum(
        connection.status == psutil.CONN_ESTABLISHED and connection.laddr.port == server.port
        for one in (parent, *parent.children(recursive=True))
        for connection in one.net_connections("tcp")
    )


def test_two_hundred_downloads_at_once_are_all_whole_and_others_are_answered(world, stored):
    client = world.proxied("many")
    url = servers.BASE + "/namespaces/team-a/coredumps"
    names = waiting.until(
        "dumps", lambda: [i["metadata"]["name"] for i in client.ask("GET", url).json["items"]], 10
    )
    whole = client.ask("GET", f"{url}/{names[0]}/dump").body
    wrong, gate = [], threading.Semaphore(0)

    def download() -> None:
        try:
            if client.ask("GET", f"{url}/{names[0]}/dump").body != whole:
                wrong.append("different bytes")
        except OSError as error:
            wrong.append(error)
        gate.release()

    threads = [threading.Thread(target=download) for _ in range(200)]
    for thread in threads:
        thread.start()
    assert client.ask("GET", url).code == 200
    for thread in threads:
        thread.join(60)
    assert wrong == []


def test_a_client_that_leaves_stops_the_work(world):
    key, entry, _ = dumps.make(b"", namespace="team-b")
    entry.raw["core"] |= {"storedSize": 2**30, "size": 2**30}
    place = world.directory / "store" / str(key)
    place.mkdir(parents=True)
    with (place / "core.gz").open("wb") as file:
        file.truncate(2**30)  # a hole: sent as zeros, which is enough to be busy
    (place / "meta.json").write_bytes(entry.encode())
    client = world.proxied("hasty")
    url = f"{servers.BASE}/namespaces/team-b/coredumps/{key.id}/dump"
    connection = client.connect()
    connection.request("GET", url, headers={**client.headers, "Audit-Id": "hasty-1"})
    connection.getresponse().read(1000)
    connection.sock.shutdown(socket.SHUT_RDWR)
    connection.close()
    entry = world.server.audited("hasty-1")
    assert entry["outcome"] == "aborted"
    assert entry["bytes"] < 2**29
    client.ask("DELETE", url.removesuffix("/dump"))


def test_a_core_that_shrinks_while_it_is_read_is_cut_never_padded(world):
    key, entry, _ = dumps.make(b"", namespace="team-b", pid=99)
    entry.raw["core"] |= {"storedSize": 2**28, "size": 2**28}
    place = world.directory / "store" / str(key)
    place.mkdir(parents=True)
    with (place / "core.gz").open("wb") as file:
        file.truncate(2**28)
    (place / "meta.json").write_bytes(entry.encode())
    client = world.proxied("unlucky")
    connection = client.connect()
    url = f"{servers.BASE}/namespaces/team-b/coredumps/{key.id}"
    connection.request("GET", url + "/dump", headers=client.headers)
    response = connection.getresponse()
    response.read(1000)
    with (place / "core.gz").open("r+b") as file:
        file.truncate(2**20)
    with pytest.raises((http.client.IncompleteRead, OSError)):
        response.read()
    connection.close()
    client.ask("DELETE", url)


ENDPOINTS = servers.BASE + "/namespaces/team-a/coredumpendpoints"
JSON_PATCH = {"Content-Type": "application/json-patch+json"}
GROWTH_BYTES_MAX = 150 * 2**20


@pytest.fixture
def endpoint(world):
    """The path of an object."""
    client = world.proxied("writer")
    body = {
        "metadata": {"name": "grown", "annotations": {"a": "x" * 1000}},
        "spec": {"podUID": "uid-1"},
    }
    assert client.ask("POST", ENDPOINTS, body).code == 201
    yield f"{ENDPOINTS}/grown"
    client.ask("DELETE", f"{ENDPOINTS}/grown")


@pytest.mark.parametrize("dry_run", ["", "?dryRun=All"])
@pytest.mark.parametrize("name", payloads.PATCHES)
def test_a_short_patch_cannot_make_a_huge_object_nor_delay_others(world, endpoint, name, dry_run):
    client, other = world.proxied("mallory"), world.proxied("somebody")
    before = resident(world.server.process)
    replies = []
    threads = [
        threading.Thread(
            target=lambda: replies.append(
                client.ask("PATCH", endpoint + dry_run, payloads.PATCHES[name], JSON_PATCH)
            )
        )
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    slowest = slowest_answer(other, threads)
    assert {reply.code for reply in replies} <= {200, 400, 413, 422, 429}
    assert len(replies) == len(threads)
    assert slowest < 5  # 0.1 s here; this machine may be loaded
    assert resident(world.server.process) - before < GROWTH_BYTES_MAX


def slowest_answer(client, threads) -> float:
    """Seconds that the slowest answer took while `threads` ran."""
    slowest = 0.0
    while any(thread.is_alive() for thread in threads):
        began = time.monotonic()
        assert client.ask("GET", ENDPOINTS).code == 200
        slowest = max(slowest, time.monotonic() - began)
    return slowest


@pytest.mark.parametrize("name", payloads.YAML)
def test_wrong_yaml_is_refused_while_others_are_answered(world, name):
    client, other = world.proxied("mallory"), world.proxied("somebody")
    replies = []
    send = {"Content-Type": "application/yaml"}
    threads = [
        threading.Thread(
            target=lambda: replies.append(client.ask("POST", ENDPOINTS, payloads.YAML[name], send))
        )
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    assert slowest_answer(other, threads) < 5
    assert [reply.code for reply in replies if reply.code not in (400, 413, 422)] == []
    assert all(reply.json["details"]["causes"] for reply in replies)
