from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support import dumps

from coredumpd import errors
from coredumpd.formats import layout
from coredumpd.server.dumps import own_namespace
from coredumpd.store import engines as stores

BORN = "2026-09-01T00:00:00Z"
BORN_S = 1_788_220_800
BEFORE, AFTER = 1_700_000_000, 1_790_000_000


class Api:
    def __init__(self) -> None:
        self.answer: Any = {"metadata": {"uid": "new", "creationTimestamp": BORN}}
        self.asked = 0

    async def request(self, *args: Any, **named: Any) -> tuple[int, Any]:
        self.asked += 1
        if isinstance(self.answer, Exception):
            raise self.answer
        return 200, self.answer


class World:
    def __init__(self, directory: Path) -> None:
        self.engine = stores.open_store(directory.as_uri())
        self.api = Api()

    def put(self, pid: int, **changes: Any) -> layout.DumpKey:
        key, crash, core = dumps.make(pid=pid, **changes)
        self.engine.commit(key, crash, core)
        return key

    def ask(self, question: Callable[[own_namespace.OwnStore], Any]) -> Any:
        """`question(store)` as the server asks: in a thread, beside the loop."""

        async def run() -> Any:
            own = own_namespace.OwnStore(self.engine, own_namespace.Namespaces(self.api))
            return await asyncio.to_thread(question, own)

        return asyncio.run(run())


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_a_new_namespace_never_shows_the_dumps_of_the_old_one(world: World) -> None:
    by_time = world.put(1, time_s=BEFORE)
    by_uid = world.put(2, time_s=BORN_S + 60, namespaceUID="old")  # that node's clock was early
    ours = [
        world.put(3, time_s=AFTER),
        world.put(4, time_s=BEFORE, namespaceUID="new"),  # a node whose clock is late
    ]
    found = world.ask(lambda own: [key for key, _ in own.scan(layout.Prefix("team-a"))])
    assert sorted(found, key=str) == sorted(ours, key=str)
    assert world.ask(lambda own: list(own.list(layout.Prefix("team-a")))) == sorted(ours, key=str)
    for key in (by_time, by_uid):
        for call in ("read_record", "open_core", "delete"):
            with pytest.raises(errors.NotFound):
                world.ask(lambda own, call=call, key=key: getattr(own, call)(key))
    assert len(list(world.engine.list())) == 4


def test_a_namespace_that_is_not_there_shows_nothing(world: World) -> None:
    world.put(1)
    world.api.answer = errors.NotFound("no such namespace")
    assert world.ask(lambda own: list(own.scan())) == []


@pytest.mark.parametrize("error", [errors.Unavailable("away"), errors.Forbidden("no")])
def test_what_cannot_be_asked_is_not_shown(world: World, error: Exception) -> None:
    world.put(1)
    world.api.answer = error
    with pytest.raises(errors.Unavailable):
        world.ask(lambda own: list(own.scan()))


def test_kubernetes_is_asked_once_for_a_listing(world: World) -> None:
    for pid in range(5):
        world.put(pid, time_s=AFTER)
    assert len(world.ask(lambda own: [*own.list(), *own.scan()])) == 10
    assert world.api.asked == 1


def test_host_crashes_are_of_no_namespace(world: World) -> None:
    _, crash, core = dumps.make(time_s=BEFORE)
    key = layout.DumpKey("_host", "node1", "sshd", crash.id)
    world.engine.commit(key, crash, core)
    assert [key for key, _ in world.ask(lambda own: list(own.scan(layout.Prefix("_host"))))] == [
        key
    ]
    assert world.api.asked == 0
