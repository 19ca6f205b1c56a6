"""Answers tell nothing of the server's inside, and repeat nothing without bound."""

from __future__ import annotations

import contextlib
import json
import time

import pytest
from support import dumps, waiting
from support.server import servers

ENDPOINTS = servers.BASE + "/namespaces/team-a/coredumpendpoints"
COREDUMPS = servers.BASE + "/namespaces/team-a/coredumps"


def logged(world, audit_id: str) -> str:
    """The line of the log that has the reason."""

    def line() -> str:
        lines = world.server.log.read_text().splitlines()
        return next((one for one in lines if f"auditID {audit_id}" in one), "")

    return waiting.until(f"a line of {audit_id}", line, 10)


@pytest.fixture
def broken_store(make_world):
    """A world of its own: its store has a dump whose file is no file any more."""
    with make_world() as world:
        key, record, core = dumps.make(b"core " * 1000, container="app", pid=7)
        world.store.commit(key, record, core)
        place = world.directory / "store" / str(key) / "meta.json"
        place.unlink()
        place.mkdir()
        yield world, key


def test_a_store_that_fails_is_named_in_the_log_alone(broken_store):
    world, key = broken_store
    client = world.proxied("alice")
    for path in (f"{COREDUMPS}/{key.id}", f"{COREDUMPS}/{key.id}/dump", COREDUMPS):
        reply = client.ask("GET", path, headers={"Audit-Id": f"store-{key.id[-4:]}"})
        assert str(world.directory) not in reply.body.decode()
        assert "file://" not in reply.body.decode()


def test_an_api_that_is_away_is_named_in_the_log_alone(world):
    """Before authentication: a token that nobody could review."""
    address = f"127.0.0.1:{world.kube.port}"
    strangers = world.client(Authorization=f"Bearer t-{time.monotonic_ns()}")
    known = world.proxied(f"user-{time.monotonic_ns()}")
    world.kube.stop()
    try:
        for client in (strangers, known):
            audit_id = f"away-{time.monotonic_ns()}"
            reply = client.ask("GET", ENDPOINTS, headers={"Audit-Id": audit_id})
            assert reply.code == 503
            assert reply.headers["Retry-After"] == "1"
            assert "127.0.0.1" not in reply.body.decode()
            assert str(world.kube.port) not in reply.body.decode()
            assert address in logged(world, audit_id)
    finally:
        world.kube.start()


def test_sixty_thousand_unknown_fields_are_fifty_warnings(world):
    client = world.proxied("alice")
    body = {"metadata": {"name": "w"}, "spec": {"podUID": "uid-1"}}
    body |= {f"field{number}": 1 for number in range(60_000)}
    for validation, code in (("Warn", 201), ("Strict", 400)):
        query = f"?fieldValidation={validation}&dryRun=All"
        reply = client.ask("POST", ENDPOINTS + query, body)
        assert reply.code == code
        warnings = reply.headers.get_all("Warning") or []
        assert len(warnings) <= 50
        assert sum(map(len, warnings)) <= 4096
        assert len(reply.body) < 64 * 1024
        if validation == "Warn":
            assert "more warnings are left out" in warnings[-1]


@pytest.mark.parametrize(
    "body",
    [
        {"metadata": {"name": "x", "labels": {f"{'k' * 900}{n}": "v" for n in range(1000)}}},
        {"metadata": {"name": "x" * 900_000}},
        {"metadata": {"name": "x", "labels": {"a": "v" * 900_000}}},
        {"metadata": {"name": "x", "finalizers": ["f" * 300] * 3000}},
        {"kind": "k" * 900_000, "metadata": {"name": "x"}},
        {"metadata": {"name": "x"}, "spec": {"podUID": "u" * 900_000}},
    ],
    ids=["keys", "name", "value", "finalizers", "kind", "uid"],
)
def test_an_answer_does_not_repeat_a_huge_body(world, body):
    reply = world.proxied("alice").ask("POST", ENDPOINTS, body)
    assert reply.code in (400, 422)
    assert len(reply.body) < 64 * 1024


def test_more_than_a_thousand_header_lines_are_refused_and_a_thousand_groups_are_not(world):
    client = world.proxied("alice")
    for count, code in ((1000, 200), (1100, 400), (20_000, 400)):
        with contextlib.closing(client.connect()) as connection:
            connection.connect()
            lines = b"".join(b"X-Remote-Group: g%d\r\n" % number for number in range(count))
            head = f"GET {ENDPOINTS} HTTP/1.1\r\nHost: x\r\nX-Remote-User: alice\r\n".encode()
            with contextlib.suppress(OSError):  # the server stops reading
                connection.sock.sendall(head + lines[:120_000] + b"\r\n\r\n")
            with connection.sock.makefile("rb") as file:
                assert int(file.readline().split(b" ")[1]) == code
    assert json.loads(client.ask("GET", ENDPOINTS).body)["kind"].endswith("List")
