from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest
from support import dumps

from coredumpd import errors
from coredumpd.formats import layout
from coredumpd.server import cluster
from coredumpd.server.dumps import own_namespace, proofs
from coredumpd.store import engines as stores

BORN = "2026-09-01T00:00:00Z"
BORN_S = 1_788_220_800
BEFORE, AFTER = 1_700_000_000, 1_790_000_000
_T = TypeVar("_T")


def read(key: layout.DumpKey, own: own_namespace.OwnStore) -> object:
    return own.read_record(key)


def open_core(key: layout.DumpKey, own: own_namespace.OwnStore) -> object:
    return own.open_core(key)


def open_beside(key: layout.DumpKey, own: own_namespace.OwnStore) -> object:
    return own.open_beside(key, "meta.json")


def delete(key: layout.DumpKey, own: own_namespace.OwnStore) -> None:
    own.delete(key)


class Kube:
    def __init__(self) -> None:
        self.answer: Any = {"metadata": {"name": "team-a", "uid": "new", "creationTimestamp": BORN}}
        self.asked = 0

    async def request(self, *args: Any, **named: Any) -> tuple[int, Any]:
        self.asked += 1
        if isinstance(self.answer, Exception):
            raise self.answer
        return 200, self.answer


class World:
    def __init__(self, directory: Path) -> None:
        self.engine = stores.open_store(directory.as_uri())
        self.kube = Kube()

    def put(self, pid: int, **changes: Any) -> layout.DumpKey:
        key, record, core = dumps.make(pid=pid, **{"namespaceUID": "new"} | changes)
        self.engine.commit(key, record, core)
        return key

    def ask(self, question: Callable[[own_namespace.OwnStore], _T], name: str = "team-a") -> _T:
        """As the server asks: for the namespace on the loop, for the dumps in a thread."""

        async def run() -> _T:
            guard = own_namespace.Guard(self.engine, cluster.KubeCluster(self.kube))
            return await asyncio.to_thread(question, await guard.own([name]))

        return asyncio.run(run())


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_a_new_namespace_never_shows_the_dumps_of_the_old_one(world: World) -> None:
    unproven = world.put(1, time_s=BORN_S + 5, namespaceUID=None)  # that node's clock was early
    by_uid = world.put(2, time_s=BORN_S + 60, namespaceUID="old")  # that node's clock was early
    ours = [
        world.put(3, time_s=AFTER),
        world.put(4, time_s=BEFORE, namespaceUID="new"),  # a node whose clock is late
    ]
    scanned = world.ask(lambda own: [key for key, _ in own.scan(layout.Prefix("team-a"))])
    assert sorted(scanned, key=str) == sorted(ours, key=str)
    assert world.ask(lambda own: list(own.list(layout.Prefix("team-a")))) == sorted(ours, key=str)
    for key in (unproven, by_uid):
        for call in (read, open_core, open_beside, delete):
            with pytest.raises(errors.NotFound):
                world.ask(functools.partial(call, key))
    assert len(list(world.engine.list())) == 4


@pytest.mark.parametrize("time_s", [BEFORE, BORN_S + 5, AFTER])
def test_without_a_uid_a_dump_is_hidden_until_a_note_proves_it(world: World, time_s: int) -> None:
    key = world.put(1, time_s=time_s, namespaceUID=None)
    for note in (None, b"{", b'{"uid": 7}', proofs.note("old")):
        if note is not None:
            world.engine.write_note("team-a", dumps.POD_UID, proofs.NOTE, note)
        with pytest.raises(errors.NotFound):
            world.ask(functools.partial(read, key))
        assert world.ask(lambda own: list(own.scan(layout.Prefix("team-a")))) == []
    world.engine.write_note("team-a", dumps.POD_UID, proofs.NOTE, proofs.note("new"))
    assert world.ask(functools.partial(read, key))


def test_a_namespace_that_is_not_there_shows_nothing(world: World) -> None:
    key = world.put(1, time_s=AFTER)
    world.kube.answer = errors.NotFound("no such namespace")
    assert (
        world.ask(
            lambda own: [
                *own.scan(layout.Prefix("team-a")),
                *own.list(layout.Prefix("team-a")),
                *own.own([key]),
            ]
        )
        == []
    )


def test_a_namespace_that_was_not_looked_up_shows_nothing(world: World) -> None:
    key = world.put(1, time_s=AFTER)
    assert (
        world.ask(lambda own: [*own.scan(layout.Prefix("team-a")), *own.own([key])], "team-b") == []
    )


@pytest.mark.parametrize("error", [errors.Unavailable("away"), errors.Forbidden("no")])
def test_what_cannot_be_asked_is_not_shown(world: World, error: Exception) -> None:
    world.put(1)
    world.kube.answer = error
    with pytest.raises(errors.Unavailable):
        world.ask(lambda own: list(own.scan(layout.Prefix("team-a"))))


def test_host_crashes_are_of_no_namespace(world: World) -> None:
    _, record, core = dumps.make(time_s=BEFORE)
    key = layout.DumpKey("_host", "node1", "sshd", record.id)
    world.engine.commit(key, record, core)
    assert [
        key for key, _ in world.ask(lambda own: list(own.scan(layout.Prefix("_host"))), "_host")
    ] == [key]
    assert world.kube.asked == 0


@pytest.mark.parametrize("name", ["files", "open_file", "read_note", "write_note", "commit", "x"])
def test_a_method_of_the_store_that_is_not_filtered_does_not_exist(world: World, name: str) -> None:
    assert hasattr(world.engine, name) == (name != "x")
    assert not world.ask(lambda own: hasattr(own, name))


def test_the_guard_shows_these_methods_and_no_others() -> None:
    shown = {name for name in dir(own_namespace.OwnStore) if not name.startswith("_")}
    filters = {"own", "shows"}
    assert shown - filters == {
        "delete",
        "index",
        "list",
        "open_beside",
        "open_core",
        "read_record",
        "scan",
    }
