"""`agent.store: https://…`: from the spool through a server into its own store, TLS and all."""

from __future__ import annotations

import http.client
import os
import ssl

import pytest
from support import dumps, pki, waiting
from support.server import servers

from coredumpd import errors


def test_a_dump_arrives_whole_and_a_second_time_is_success(world):
    key, crash, core = dumps.make(os.urandom(5_000_000))
    stored = core.getvalue()
    for _ in range(2):
        core.seek(0)
        world.target().commit(key, crash, core)
    assert list(world.store.list()) == [key]
    opened = world.store.open_core(key)
    assert opened.read_at(0, opened.size) == stored
    opened.close()


def test_another_dump_under_the_same_key_is_refused(world):
    key, crash, core = dumps.make(b"one")
    world.target().commit(key, crash, core)
    _, other, other_core = dumps.make(b"another")
    other.raw["id"] = crash.id
    with pytest.raises(errors.AlreadyExists):
        world.target().commit(key, other, other_core)


@pytest.mark.parametrize("token", ["admin", "other", "nobody"])
def test_nobody_but_the_agent_may_send(world, token):
    world.token.write_text(token)
    with pytest.raises(errors.StorageError, match=r"40[13]"):
        world.target().commit(*dumps.make())
    assert list(world.store.list()) == []


def test_the_agent_may_not_without_the_right_that_rbac_gives(world):
    world.kube.may = lambda spec: (
        not (spec.get("nonResourceAttributes") or {}).get("path", "").startswith("/agent/")
    )
    with pytest.raises(errors.StorageError, match="403"):
        world.target().commit(*dumps.make())


def test_a_server_that_cannot_prove_who_it_is_gets_nothing(world, tmp_path):
    world.authority = pki.Authority(tmp_path, "another-ca")
    with pytest.raises(errors.StorageError, match="certificate"):
        world.target().commit(*dumps.make())


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\0\0",
        b"\xff\xff\xff\xff" + b"x" * 100,
        b"\0\0\0\2{}",
        b"\0\0\0\5hello" + b"x" * 100,
    ],
)
def test_a_body_that_is_no_dump_is_a_422_or_400_and_leaves_nothing(world, body):
    key = dumps.make()[0]
    client = servers.Client(
        world.port, world.authority.file, headers={"Authorization": "Bearer agent"}
    )
    reply = client.ask("PUT", f"/agent/v1/dumps/{key}", body)
    assert reply.code in (400, 422), reply.body
    assert list(world.store.files()) == []


def test_a_record_of_another_key_is_refused(world):
    key, crash, core = dumps.make()
    meta = crash.encode()
    body = len(meta).to_bytes(4, "big") + meta + core.getvalue()
    client = servers.Client(
        world.port, world.authority.file, headers={"Authorization": "Bearer agent"}
    )
    path = str(key).replace("team-a", "team-b")
    assert client.ask("PUT", f"/agent/v1/dumps/{path}", body).code == 422
    hostile = str(key).replace("team-a", "..%2f..")
    assert client.ask("PUT", f"/agent/v1/dumps/{hostile}", body).code in (404, 422)
    assert list(world.store.files()) == []


def test_an_upload_that_is_cut_leaves_nothing(world):
    key, crash, core = dumps.make(os.urandom(8_000_000))
    meta = crash.encode()
    context = ssl.create_default_context(cafile=str(world.authority.file))
    connection = http.client.HTTPSConnection("127.0.0.1", world.port, context=context, timeout=30)
    connection.putrequest("PUT", f"/agent/v1/dumps/{key}")
    connection.putheader("Authorization", "Bearer agent")
    connection.putheader("Content-Length", str(4 + len(meta) + len(core.getvalue())))
    connection.endheaders()
    connection.send(len(meta).to_bytes(4, "big") + meta + core.getvalue()[:4_000_000])
    waiting.until("a part", lambda: list(world.path.rglob("core.gz")), 30, 0.02)
    connection.close()
    waiting.until("it to go", lambda: not list(world.path.rglob("core.gz")), 30, 0.05)
    assert list(world.store.list()) == []
    world.target().commit(key, crash, core)
    assert list(world.store.list()) == [key]


def test_the_agent_ships_through_a_server_that_was_away(node, world):
    node.spool.mkdir(mode=0o700)
    node.settings["store"] = f"https://127.0.0.1:{world.port}"
    node.extra = {"upload": world.settings()}
    world.server.stop()
    node.start("--no-kubernetes", "--no-core-pattern")
    core = os.urandom(3_000_000)
    for number in range(3):
        dumps.spooled(node.spool, f"app-{number}", core=core, containerID=str(number) * 64)
    waiting.until("a failure", lambda: "not shipped" in node.logged(), 30)
    assert len(os.listdir(node.spool)) == 3
    world.start()
    waiting.until("every dump", lambda: not os.listdir(node.spool), 90)
    assert [key.id for key in world.store.list()] == ["app-0", "app-1", "app-2"]
