"""A kube-apiserver's lists and watches, in lists that a test fills; no socket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from coredumpd import errors


class Api:
    """`kube.api.Api`: each path's `items` are listed, then its `changes` come one by one."""

    def __init__(self) -> None:
        self.items: dict[str, list[Any]] = {}
        self.changes: dict[str, asyncio.Queue[Any]] = {}
        self.queries: dict[str, dict[str, str]] = {}

    async def request(self, method: str, path: str, body: Any = None, **named: Any) -> Any:
        if path in self.items:
            self.queries[path] = named.get("query") or {}
            return 200, {"metadata": {"resourceVersion": "1"}, "items": self.items[path]}
        parent, _, name = path.rpartition("/")
        for item in self.items.get(parent, []):
            if item["metadata"]["name"] == name:
                return 200, item
        raise errors.NotFound(path)

    async def watch(self, path: str, **named: Any) -> AsyncIterator[dict[str, Any]]:
        queue = self.changes.setdefault(path, asyncio.Queue())
        while True:
            kind, item = await queue.get()
            yield {"type": kind, "object": item}

    async def change(self, path: str, kind: str, item: Any) -> None:
        """Send one change of a watch."""
        await self.changes.setdefault(path, asyncio.Queue()).put((kind, item))
