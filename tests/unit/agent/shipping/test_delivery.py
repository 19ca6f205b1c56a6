from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from typing import Any

import pytest
from support import dumps

from coredumpd import aiokit, errors
from coredumpd.agent.shipping import attribution, delivery
from coredumpd.agent.shipping import entry as shipping
from coredumpd.formats import record as records
from coredumpd.spool import entries
from coredumpd.store import engines


class Reporter:
    """Keeps the name of each report."""

    def __init__(self) -> None:
        self.reports: list[str] = []
        self.arrivals: list[str] = []

    def arrived(self, crash: records.CrashRecord) -> None:
        self.arrivals.append(crash.id)

    async def shipped(self, record: records.CrashRecord) -> None:
        self.reports.append("shipped")

    async def refused(self, record: records.CrashRecord) -> None:
        self.reports.append("refused")


class Sealer:
    """Answers each request to seal with `sealed`."""

    def __init__(self, sealed: records.CrashRecord | None) -> None:
        self._sealed = sealed

    async def seal(self, entry: object, record: records.CrashRecord) -> records.CrashRecord | None:
        return self._sealed


class World:
    """A spool with one entry, a store, and a delivery between them."""

    def __init__(self, directory: Path) -> None:
        (directory / "store").mkdir()
        self.path = dumps.spooled(directory / "spool", "a-1", core=b"memory")
        self.spool = entries.Spool(str(directory / "spool"))
        self.store = engines.open_store(f"file://{directory}/store")
        self.reporter = Reporter()
        (entry,) = self.spool.entries()
        self.waiting = shipping.Waiting(entry, aiokit.Backoff(1, 1))

    def delivery(self, **preparation: Any) -> delivery.Delivery:
        steps = delivery.Preparation(attribution.Attributor(None, "node1"), **preparation)
        return delivery.Delivery(self.store, steps, self.reporter)  # type: ignore[arg-type]

    def attempt(self, **preparation: Any) -> delivery.Outcome:
        return asyncio.run(self.delivery(**preparation).attempt(self.waiting))


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_a_dump_is_committed_freed_and_reported(world: World) -> None:
    assert world.attempt() is delivery.Outcome.SHIPPED
    assert [key.id for key in world.store.list()] == ["a-1"]
    assert world.spool.entries() == []
    assert world.reporter.reports == ["shipped"]
    assert world.waiting.commit is None


@pytest.mark.parametrize("preparation", [{"refuses": lambda _: True}, {"sealer": Sealer(None)}])
def test_a_dump_that_must_not_leave_the_node_is_removed(
    world: World, preparation: dict[str, Any]
) -> None:
    assert world.attempt(**preparation) is delivery.Outcome.REFUSED
    assert list(world.store.list()) == []
    assert world.spool.entries() == []
    assert world.reporter.reports == ["refused"]


def test_an_entry_that_was_removed_by_hand_needs_no_further_try(world: World) -> None:
    shutil.rmtree(world.path)
    assert world.attempt() is delivery.Outcome.GONE
    assert world.reporter.reports == []


def test_an_agent_that_stops_begins_no_commit(world: World) -> None:
    stopping = world.delivery()
    stopping.stopping = True
    with pytest.raises(errors.Unavailable, match="stopping"):
        asyncio.run(stopping.attempt(world.waiting))
    assert [entry.id for entry in world.spool.entries()] == ["a-1"]


def test_names_that_a_store_cannot_hold_are_invalid_before_anything_is_written(
    world: World,
) -> None:
    dumps.spooled(Path(world.spool.path), "b-2", container="../../etc")
    world.waiting = shipping.Waiting(world.spool.entries()[-1], aiokit.Backoff(1, 1))
    with pytest.raises(errors.Invalid):
        world.attempt()
    assert list(world.store.list()) == []
