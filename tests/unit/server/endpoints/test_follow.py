from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from coredumpd.apiserver.rest import watch_cache
from coredumpd.objects import engines, interface
from coredumpd.server.endpoints import codec, follow


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
        follower = follow.Follower(engine, codec.PREFIX, cache)
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
