"""One watch: initial events if wanted, then every change, bookmarks, an end.

https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes and
KEP-3157: initial events end with a bookmark that says so, or the client waits for ever.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Mapping
from typing import Any, Protocol

from tornado import iostream

from coredumpd import errors
from coredumpd.apiserver.http import handler as base
from coredumpd.apiserver.machinery import kind as machinery_kind
from coredumpd.apiserver.machinery import negotiation, options, status, tables
from coredumpd.apiserver.rest import watch_cache as feeds
from coredumpd.server import kinds

BOOKMARK_S = 60.0
TIMEOUT_S_MIN = 1800.0  # as kube-apiserver: between that and twice that, when none is given
INITIAL_END = "k8s.io/initial-events-end"
Listing = tuple[list[dict[str, Any]], dict[str, Any]]


class Watched(Protocol):
    """The part of a resource that a watch needs."""

    kind: machinery_kind.Kind
    fields: tuple[str, ...]
    feed: feeds.Feed

    async def list(self, namespace: str | None, wanted: options.List) -> Listing: ...
    async def revision(self) -> int: ...
    async def shown(self, change: feeds.Change) -> dict[str, Any]: ...
    def matches(self, entry: Mapping[str, Any], wanted: options.List) -> bool: ...


class Watching:
    """Belongs to one handler; `run` returns when the watch is over."""

    def __init__(self, handler: base.Handler, resource: Watched, namespace: str | None) -> None:
        self._handler = handler
        self._resource = resource
        self._namespace = namespace
        self._asked = options.watch(handler.query, resource.fields)
        self._wanted = options.List(self._asked.labels, self._asked.fields, 0, 0, "", False)
        accept = handler.request.headers.get("Accept", "")
        self._shape = negotiation.representation(accept, tables.OFFERED_FOR_OBJECT)
        self._headed = False

    async def run(self) -> None:
        """Stream events. Raises Expired or Unavailable before the first byte, later sends them."""
        feed = self._resource.feed
        now = await self._resource.revision()
        if not feed.open:
            raise errors.Unavailable("changes cannot be watched yet; try again")
        revision = self._asked.revision or now
        if revision > now:
            raise errors.Expired(f"resource version {revision} is to come, now is {now}")
        self._handler.set_header("Content-Type", "application/json")
        wake = asyncio.Event()
        self._handler.wake = wake
        feed.join(wake)
        try:
            await self._handler.flush()  # the client learns at once that it is watching
            if self._asked.initial:
                revision = await self._initial()
            await self._follow(revision, wake)
            self._handler.finish()
        except errors.CoredumpdError as error:
            self._send("ERROR", status.of(error))
            self._handler.finish()
        except iostream.StreamClosedError:
            pass  # the client left: the usual end of a watch
        finally:
            feed.leave(wake)

    async def _initial(self) -> int:
        entries, meta = await self._resource.list(self._namespace, self._wanted)
        for entry in entries:
            self._send("ADDED", self._shaped(entry))
        revision = int(meta["resourceVersion"])
        if self._asked.end_marked:
            self._bookmark(revision, {INITIAL_END: "true"})
        await self._handler.flush()
        return revision

    async def _follow(self, revision: int, wake: asyncio.Event) -> None:
        feed = self._resource.feed
        length = self._asked.timeout_s or TIMEOUT_S_MIN * (1 + random.random())  # noqa: S311
        end = time.monotonic() + length
        bookmark = time.monotonic() + BOOKMARK_S
        while not self._handler.left:
            wake.clear()
            latest = feed.latest  # now: telling takes time, in which more comes
            for change in feed.after(revision):
                await self._tell(change)
            revision = max(revision, latest)
            await self._handler.flush()
            now = time.monotonic()
            if feed.closed or now >= end:
                if self._asked.bookmarks:
                    self._bookmark(revision)
                return
            if now >= bookmark:
                bookmark = now + BOOKMARK_S
                if self._asked.bookmarks:
                    self._bookmark(revision)
                    await self._handler.flush()
            try:
                await asyncio.wait_for(wake.wait(), min(end, bookmark) - now)
            except TimeoutError:
                continue  # time for a bookmark, or for the end

    async def _tell(self, change: feeds.Change) -> None:
        """The event as this watcher's selectors see it: entering is ADDED, leaving is DELETED."""
        is_in, was_in = self._selects(change.entry), self._selects(change.previous)
        kind: str = change.kind
        if change.kind == "MODIFIED":
            kind = {(True, True): "MODIFIED", (True, False): "ADDED"}.get(
                (is_in, was_in), "DELETED"
            )
        if not (is_in if kind != "DELETED" else was_in):
            return
        if change.shown is None:
            change.shown = asyncio.create_task(self._resource.shown(change))
        self._send(kind, self._shaped(await asyncio.shield(change.shown)))

    def _selects(self, entry: Mapping[str, Any] | None) -> bool:
        if entry is None:
            return False
        place = entry["metadata"]["namespace"]
        if self._namespace is not None and place != self._namespace:
            return False
        return self._resource.matches(entry, self._wanted)

    def _shaped(self, entry: Mapping[str, Any]) -> Mapping[str, Any]:
        kind, version = self._shape
        if not kind:
            return entry
        if kind != "Table":
            return tables.partial(entry, version)
        include = self._handler.query.get("includeObject") or "Metadata"
        meta = {"resourceVersion": entry["metadata"]["resourceVersion"]}
        columns = self._resource.kind.columns
        headless, self._headed = self._headed, True
        return tables.table(columns, [entry], meta, version, include, headless)

    def _bookmark(self, revision: int, annotations: Mapping[str, str] | None = None) -> None:
        meta: dict[str, Any] = {"resourceVersion": str(revision), "creationTimestamp": None}
        if annotations:
            meta["annotations"] = dict(annotations)
        kind, version = self._shape
        head = {"kind": self._resource.kind.kind, "apiVersion": kinds.GROUP_VERSION}
        if kind:
            head = {"kind": kind, "apiVersion": f"meta.k8s.io/{version}"}
        self._send("BOOKMARK", {**head, "metadata": meta})

    def _send(self, kind: str, entry: Mapping[str, Any]) -> None:
        line = json.dumps({"type": kind, "object": entry}, separators=(",", ":")) + "\n"
        self._handler.write(line)
        self._handler.sent_bytes += len(line)
