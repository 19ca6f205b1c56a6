from __future__ import annotations

import asyncio
import json
import types

import pytest

from coredumpd.server import kinds, watching


class Handler:
    """What a watch needs of its request; leaves after `wanted` lines."""

    def __init__(self, wanted: int, **query: str) -> None:
        self.query = {"watch": "true", **query}
        self.request = types.SimpleNamespace(headers={})
        self.lines: list[dict[str, object]] = []
        self.sent_bytes = 0
        self.left = False
        self.wake: asyncio.Event | None = None
        self._wanted = wanted

    def write(self, line: str) -> None:
        self.lines.append(json.loads(line))
        self.left = len(self.lines) >= self._wanted

    async def flush(self) -> None:
        pass

    def set_header(self, name: str, value: str) -> None:
        pass

    def finish(self) -> None:
        self.left = True


class Feed:
    """Nothing ever happens."""

    open = True
    closed = False
    latest = 7

    def after(self, revision: int) -> list[object]:
        return []

    def join(self, wake: asyncio.Event) -> None:
        pass

    def leave(self, wake: asyncio.Event) -> None:
        pass


class Resource:
    kind = kinds.ENDPOINT
    fields: tuple[str, ...] = ()
    feed = Feed()

    async def revision(self) -> int:
        return 7


def test_a_watch_in_which_nothing_happens_gets_bookmarks_from_time_to_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(watching, "BOOKMARK_S", 0.01)
    handler = Handler(3, resourceVersion="7", allowWatchBookmarks="true")
    asyncio.run(_watch(handler))
    assert [line["type"] for line in handler.lines] == ["BOOKMARK"] * 3
    assert [line["object"]["metadata"]["resourceVersion"] for line in handler.lines] == ["7"] * 3


def test_who_does_not_ask_for_bookmarks_gets_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "BOOKMARK_S", 0.01)
    handler = Handler(1, resourceVersion="7", timeoutSeconds="1")
    asyncio.run(_watch(handler))
    assert handler.lines == []


async def _watch(handler: Handler) -> None:
    async with asyncio.timeout(30):
        await watching.Watching(handler, Resource(), "team-a").run()
