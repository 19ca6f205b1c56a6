from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from support import dumps

from coredumpd import aiokit
from coredumpd.agent.shipping import crash_loops
from coredumpd.agent.shipping import entry as shipping
from coredumpd.formats import crash_loop, names
from coredumpd.settings import sections
from coredumpd.spool import entries

RULES = sections.CrashLoopSettings()


class World:
    """A spool with `crashes` of one loop, all waiting."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "spool"
        self.path.mkdir(mode=0o700)
        self.spool = entries.Spool(str(self.path))
        self.lost = 0
        self.loops = crash_loops.Loops(self.spool, RULES, self.count)

    def count(self, crashes: int) -> None:
        self.lost += crashes

    def waiting(self, crashes: int) -> dict[str, shipping.Waiting]:
        for number in range(crashes):
            id = names.make_id("app", 1_790_000_000 + number, 100 + number, 0)
            dumps.spooled(self.path, id)
        waiting = {}
        for entry in self.spool.entries():
            waiting[entry.id] = shipping.Waiting(entry, aiokit.Backoff(1, 1))
            waiting[entry.id].read(entry.record())
        return waiting

    def fold(self, waiting: dict[str, shipping.Waiting]) -> None:
        for fold, members in self.loops.choose(waiting):
            asyncio.run(self.loops.fold(fold, [one.entry for one in members]))


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_crashes_between_the_first_and_the_last_become_one_record(world: World) -> None:
    world.fold(world.waiting(20))
    kept = RULES.first + RULES.last
    crashes = [crash_loop.of(entry.record()) for entry in world.spool.entries()]
    assert len(crashes) == kept + 1
    assert sum(crash.count for crash in crashes) == 20
    assert world.lost == 20 - kept


def test_a_few_crashes_are_no_loop(world: World) -> None:
    assert world.loops.choose(world.waiting(RULES.first + RULES.last)) == []


def test_an_entry_that_is_being_shipped_is_not_folded(world: World) -> None:
    waiting = world.waiting(20)
    busy = sorted(waiting)[10]
    waiting[busy].busy = True
    ((_, members),) = world.loops.choose(waiting)
    assert busy not in [one.id for one in members]
    assert len(members) == 20 - RULES.first - RULES.last - 1


def test_the_first_cores_of_a_loop_are_kept_once_though_they_are_shipped(world: World) -> None:
    waiting = world.waiting(20)
    for id in sorted(waiting)[: RULES.first]:
        one = waiting.pop(id)
        assert one.group is not None
        assert one.crash is not None
        world.loops.shipped(one.group, one.crash)
    ((_, members),) = world.loops.choose(waiting)
    assert len(waiting) - len(members) == RULES.last
