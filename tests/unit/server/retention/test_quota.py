from __future__ import annotations

import asyncio
from typing import Any

import pytest
from support import dumps

from coredumpd import errors
from coredumpd.formats import layout, quota_notice
from coredumpd.formats import record as records
from coredumpd.server.retention import quota


class World:
    """A store of one dump, a Kubernetes of one ConfigMap, and the Events that were written."""

    def __init__(self) -> None:
        self.key, self.record, _ = dumps.make()
        self.events: list[tuple[str, ...]] = []
        self.bodies: list[Any] = []
        self.missing = False

    def read_record(self, key: layout.DumpKey) -> records.CrashRecord:
        if key != self.key:
            raise errors.NotFound("gone")
        return self.record

    async def write_event(self, *event: str) -> None:
        self.events.append(event)

    async def request(self, method: str, path: str, body: Any = None, **_: Any) -> tuple[int, Any]:
        if self.missing:
            raise errors.NotFound(path)
        self.bodies.append(body)
        return 200, body


@pytest.mark.parametrize(
    ("used", "reject", "reserve", "is_near", "is_full"),
    [
        (89, True, 0, False, False),
        (90, True, 0, True, False),
        (100, True, 0, True, True),
        (94, True, 5, True, False),
        (95, True, 5, True, True),
        (100, False, 5, True, False),
        (105, False, 5, True, False),
        (106, False, 5, True, True),
        (106, False, 0, True, False),
    ],
)
def test_usage_is_near_at_nine_tenths_and_full_at_the_reserve(
    used: int, reject: bool, reserve: int, is_near: bool, is_full: bool
) -> None:
    usage = quota.Usage(used, 100, reject, reserve)
    assert (usage.is_near, usage.is_full) == (is_near, is_full)


def test_the_same_usage_is_warned_of_once_until_it_was_below() -> None:
    world = World()
    notifier = quota.Notifier(world, world.write_event)

    async def passes(*used: int) -> None:
        for size in used:
            await notifier.near("team-a", quota.Usage(size, 100, False), world.key)

    asyncio.run(passes(95, 95))
    assert len(world.events) == 1
    asyncio.run(passes(96, 10, 95))
    assert len(world.events) == 3


def test_a_dump_without_a_readable_record_gets_no_event() -> None:
    world = World()
    other = dumps.make(pid=9)[0]
    asyncio.run(quota.Notifier(world, world.write_event).evicted([other], quota.over(100)))
    assert world.events == []


def test_the_notice_is_written_when_it_changes() -> None:
    world = World()
    notice = quota.Notice(world, "coredumpd")

    async def publish(*passes: set[str]) -> None:
        for full in passes:
            await notice.publish(full)

    asyncio.run(publish({"team-a"}, {"team-a"}, set()))
    assert [quota_notice.reached(body) for body in world.bodies] == [{"team-a"}, frozenset()]


def test_a_missing_config_map_is_logged_and_tried_again(caplog: Any) -> None:
    world = World()
    world.missing = True
    notice = quota.Notice(world, "coredumpd")
    asyncio.run(notice.publish({"team-a"}))
    assert "no ConfigMap" in caplog.text
    world.missing = False
    asyncio.run(notice.publish({"team-a"}))
    assert len(world.bodies) == 1


def test_without_a_namespace_nothing_is_published() -> None:
    world = World()
    asyncio.run(quota.Notice(world, None).publish({"team-a"}))
    assert world.bodies == []
