from __future__ import annotations

import asyncio
import json
import types

from coredumpd import errors
from coredumpd.apiserver.machinery import status
from coredumpd.apiserver.rest import outgoing, watch, watch_cache
from coredumpd.server import kinds


class Handler:
    """What a watch needs of its request; leaves after `wanted` lines."""

    def __init__(self, wanted: int, **query: str) -> None:
        self.query = {"watch": "true", **query}
        self.request = types.SimpleNamespace(headers={})
        self.lines: list[dict[str, object]] = []
        self.sent_bytes = 0
        self.client_left = self.ended = False
        self.caller = None
        self.wake: asyncio.Event | None = None
        self._wanted = wanted
        self.places = types.SimpleNamespace(release=lambda kind: None)

    def write(self, line: str) -> None:
        self.lines.append(json.loads(line))
        self.client_left = len(self.lines) >= self._wanted
        if self.client_left and self.wake is not None:
            self.wake.set()

    async def flush(self) -> None:
        pass

    def cut(self) -> None:
        self.client_left = True

    def status_of(self, error: errors.CoredumpdError) -> dict[str, object]:
        return status.of(error)

    def log_hidden(self, error: errors.CoredumpdError) -> None:
        pass

    def set_header(self, name: str, value: str) -> None:
        pass

    def finish(self) -> None:
        self.client_left = True


class Cache:
    """Nothing ever happens."""

    open = True
    closed = False
    latest = 7

    def after(self, revision: int, size_max: int = 0) -> list[object]:
        return []

    def join(self, wake: asyncio.Event) -> None:
        pass

    def leave(self, wake: asyncio.Event) -> None:
        pass


class Resource:
    kind = kinds.ENDPOINT
    fields: tuple[str, ...] = ()
    changes = Cache()

    async def revision(self, asked: int = 0, *, expires: bool = True) -> int:
        return 7


def test_a_watch_in_which_nothing_happens_gets_bookmarks_from_time_to_time() -> None:
    handler = Handler(3, resourceVersion="7", allowWatchBookmarks="true")
    asyncio.run(_watch(handler, bookmark_every_s=0.01))
    assert [line["type"] for line in handler.lines] == ["BOOKMARK"] * 3
    assert [line["object"]["metadata"]["resourceVersion"] for line in handler.lines] == ["7"] * 3


def test_who_does_not_ask_for_bookmarks_gets_none() -> None:
    handler = Handler(1, resourceVersion="7", timeoutSeconds="1")
    asyncio.run(_watch(handler, bookmark_every_s=0.01))
    assert handler.lines == []


def test_a_change_that_comes_while_another_is_being_told_is_not_lost() -> None:
    resource = Eventful()
    handler = Handler(3, resourceVersion="7")
    asyncio.run(_watch(handler, resource))
    told = [line["object"]["metadata"]["resourceVersion"] for line in handler.lines]
    assert told == ["8", "9", "10"]


class Eventful(Resource):
    """A change is there at the start; looking up what to show of it takes until two more came."""

    def __init__(self) -> None:
        self.changes = watch_cache.WatchCache()
        self.changes.start(7)
        self.changes.push([_change(8)])

    def matches(self, entry: object, wanted: object) -> bool:
        return True

    async def shown(self, change: watch_cache.Change) -> dict[str, object]:
        await asyncio.sleep(0)
        if change.revision == 8:
            self.changes.push([_change(9), _change(10)])
        return dict(change.obj)


def test_a_watcher_that_reads_slowly_keeps_no_history_and_is_told_that_it_is_expired() -> None:
    resource = Eventful()
    resource.changes.start(7)
    size = watch_cache.BYTES_MAX // 4
    handler = Slow(3, resourceVersion="7")

    async def scenario() -> None:
        resource.changes.push([_change(8, size)])
        watching = asyncio.create_task(_watch(handler, resource))
        await handler.sending.wait()
        for revision in range(9, 20):  # the cache forgets what the client has not taken yet
            resource.changes.push([_change(revision, size)])
        handler.reads.set()
        await watching

    asyncio.run(scenario())
    assert [line["type"] for line in handler.lines] == ["ADDED", "ERROR"]
    assert handler.lines[1]["object"]["code"] == 410


class Slow(Handler):
    """A client that takes nothing until `reads` is set."""

    def __init__(self, wanted: int, **query: str) -> None:
        super().__init__(wanted, **query)
        self.sending, self.reads = asyncio.Event(), asyncio.Event()

    async def flush(self) -> None:
        if self.lines:
            self.sending.set()
            await self.reads.wait()


def _change(revision: int, size: int = 1) -> watch_cache.Change:
    meta = {"namespace": "team-a", "name": "a", "resourceVersion": str(revision)}
    return watch_cache.Change("ADDED", {"metadata": meta}, None, revision, size)


async def _watch(handler: Handler, resource: Resource | None = None, **options: float) -> None:
    async with asyncio.timeout(10):
        room = outgoing.Outgoing()
        source = resource or Resource()
        await watch.Stream(handler, source, "g/v1", "team-a", room, **options).run()
