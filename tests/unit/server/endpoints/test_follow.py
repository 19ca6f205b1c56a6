from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from coredumpd import errors
from coredumpd.apiserver.rest import watch_cache
from coredumpd.objects import engines, interface
from coredumpd.server.endpoints import codec, follow, usage
from coredumpd.settings import limits


def value(**spec: Any) -> bytes:
    return json.dumps({"metadata": {"name": "web-0"}, "spec": spec}).encode()


def test_events_of_the_engine_become_changes_of_objects() -> None:
    before, after = value(podUID="1"), value(podUID="1", more=True)
    (change,) = follow.changes([interface.Event("MODIFIED", "/key", after, 9, before)])
    assert (change.kind, change.revision) == ("MODIFIED", 9)
    assert change.obj["metadata"]["resourceVersion"] == "9"
    assert change.obj["spec"]["more"] is True
    assert change.previous is not None
    assert "more" not in change.previous["spec"]
    assert change.size == len(before) + len(after) + 2 * watch_cache.OBJECT_BYTES


def test_events_change_what_a_namespace_has() -> None:
    key = codec.key("team-a", "web-0")
    events = [
        interface.Event("ADDED", key, b"12345", 1, None),
        interface.Event("MODIFIED", key, b"123", 2, b"12345"),
        interface.Event("DELETED", key, b"123", 3, b"123"),
    ]
    told = follow.differences(events)
    assert [(one.namespace, one.amount.objects, one.amount.size) for one in told] == [
        ("team-a", 1, 5),
        ("team-a", 0, -2),
        ("team-a", -1, -3),
    ]


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.01)


def test_each_write_to_the_engine_reaches_the_cache_until_the_follower_stops(
    tmp_path: Path,
) -> None:
    async def scenario() -> None:
        engine = engines.open_engine(f"sqlite:///{tmp_path}/objects.db")
        cache = watch_cache.WatchCache()
        used = usage.Usage(limits.ObjectLimitsSettings())
        follower = follow.Follower(engine, codec.PREFIX, cache, used, 64 * 1024 * 1024)
        follower.start()
        await until(lambda: cache.open)
        start = cache.latest
        revision = engine.create(codec.key("team-a", "web-0"), value(podUID="1"))
        engine.create("/others/web-0", value())
        await until(lambda: cache.latest >= revision)
        assert [change.kind for change in cache.after(start)] == ["ADDED"]
        await asyncio.to_thread(follower.stop)
        engine.close()

    asyncio.run(scenario())


def test_what_is_there_is_counted_before_anything_is_admitted(tmp_path: Path) -> None:
    async def scenario() -> None:
        engine = engines.open_engine(f"sqlite:///{tmp_path}/objects.db")
        for number in range(3):
            engine.create(codec.key("team-a", f"web-{number}"), value(podUID="1"))
        used = usage.Usage(limits.ObjectLimitsSettings(namespaceObjects=4))
        with pytest.raises(errors.Unavailable), used.admit("team-a", "x", usage.Amount(1, 10)):
            pass
        cache = watch_cache.WatchCache()
        follower = follow.Follower(engine, codec.PREFIX, cache, used, 64 * 1024 * 1024)
        follower.start()
        await until(lambda: cache.open)
        with used.admit("team-a", "x", usage.Amount(1, 10)) as write:
            write.revision = engine.create(codec.key("team-a", "x"), value(podUID="1"))
        await until(lambda: cache.latest >= (write.revision or 0))
        with pytest.raises(errors.Forbidden), used.admit("team-a", "y", usage.Amount(1, 10)):
            pass
        await asyncio.to_thread(follower.stop)
        engine.close()

    asyncio.run(scenario())


def test_history_is_dropped_early_when_much_is_written(tmp_path: Path) -> None:
    async def scenario() -> None:
        engine = engines.open_engine(f"sqlite:///{tmp_path}/objects.db")
        cache = watch_cache.WatchCache()
        used = usage.Usage(limits.ObjectLimitsSettings())
        follower = follow.Follower(engine, codec.PREFIX, cache, used, 100_000)
        follower.start()
        await until(lambda: cache.open)
        large = value(podUID="1", more="x" * 10_000)
        first = revision = engine.create(codec.key("team-a", "web-0"), large)
        for _ in range(30):
            revision = engine.update(codec.key("team-a", "web-0"), large, revision)
        await until(lambda: _is_expired(engine, first))
        kept = engine.watch(codec.PREFIX, revision - 3).next(0)
        assert len(kept) == 3
        await asyncio.to_thread(follower.stop)
        engine.close()

    asyncio.run(scenario())


def _is_expired(engine: interface.Engine, revision: int) -> bool:
    try:
        engine.check(revision)
    except errors.Expired:
        return True
    return False
