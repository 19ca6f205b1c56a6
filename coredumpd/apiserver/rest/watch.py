"""One watch: initial events if the client asks for them, then every change, bookmarks, an end.

https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes and
KEP-3157: initial events end with a bookmark that says so, or the client waits for ever.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import time
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from coredumpd import errors
from coredumpd.apiserver.auth import tenants
from coredumpd.apiserver.http import handler as handlers
from coredumpd.apiserver.machinery import kind as kinds
from coredumpd.apiserver.machinery import negotiation, options, tables
from coredumpd.apiserver.rest import lists, outgoing, watch_cache

BOOKMARK_S = 60.0
TIMEOUT_S_MIN = 1800.0  # as kube-apiserver: from that to twice that, when the client gives none
INITIAL_END = "k8s.io/initial-events-end"
_BATCH_BYTES = 64 * 1024  # of changes that are sent together


class Source(Protocol):
    """The part of a resource that a watch needs.

    `revision` is that of the last write. It raises TooLargeResourceVersion when `asked` is above
    that, and, if `expires`, Expired when what came after `asked` is not known any more.
    `shown` is a change's object as watchers see it.
    """

    kind: kinds.Kind
    fields: tuple[str, ...]
    changes: watch_cache.WatchCache

    def pages(self, namespace: str | None, selection: options.List) -> lists.Pages: ...
    async def revision(self, asked: int = 0, *, expires: bool = True) -> int: ...
    async def shown(self, change: watch_cache.Change) -> dict[str, Any]: ...
    def matches(self, obj: Mapping[str, Any], selection: options.List) -> bool: ...


class Stream:
    """The events of one request; `run` returns when the watch is over.

    `namespace` None is all of them. Raises BadRequest, Invalid or NotAcceptable.
    """

    def __init__(
        self,
        handler: handlers.Handler,
        source: Source,
        group_version: str,
        namespace: str | None,
        room: outgoing.Outgoing,
        bookmark_every_s: float = BOOKMARK_S,
    ) -> None:
        self._handler = handler
        self._source = source
        self._group_version = group_version
        self._namespace = namespace
        self._room = room
        self._holder = tenants.tenant(handler.caller) if handler.caller else ""
        self._bookmark_every_s = bookmark_every_s
        self._options = options.watch(handler.query, source.fields)
        self._selection = options.List(self._options.labels, self._options.fields)
        accept = handler.request.headers.get("Accept", "")
        self._shape = negotiation.representation(accept, tables.OFFERED_FOR_OBJECT)
        self._headed = False

    async def run(self) -> None:
        """Stream events. Before the first byte, raises Unavailable or TooLargeResourceVersion."""
        try:
            revision = await self._begin()
        except errors.Expired as error:  # natively that is an event, too
            self._handler.set_header("Content-Type", "application/json")
            return self._fail(error)
        changes = self._source.changes
        self._handler.set_header("Content-Type", "application/json")
        wake = asyncio.Event()
        self._handler.wake = wake
        changes.join(wake)
        try:
            await self._handler.flush()  # the client learns at once that it is watching
            if self._options.initial:
                revision = await self._initial()
            # From now on it costs no more than other watches.
            self._handler.places.release("request")
            await self._follow(revision, wake)
            self._handler.finish()
        except errors.CoredumpdError as error:
            self._fail(error)
        except handlers.ClientGone:
            pass  # the client left: the usual end of a watch
        finally:
            changes.leave(wake)

    async def _begin(self) -> int:
        """The revision to begin at."""
        asked = self._options.revision or 0
        now = await self._source.revision(asked)
        if not self._source.changes.open:
            raise errors.NotReady("changes cannot be watched yet; try again")
        return asked or now

    def _fail(self, error: errors.CoredumpdError) -> None:
        self._handler.log_hidden(error)
        self._send("ERROR", self._handler.status_of(error))
        self._handler.finish()

    async def _initial(self) -> int:
        """Send the existing objects, page by page; returns the revision that they are of."""
        revision = 0
        async with contextlib.aclosing(
            self._source.pages(self._namespace, self._selection)
        ) as pages:
            last = False
            while not last:
                async with self._room.room(self._holder, lists.ROOM_BYTES, self._handler.cut):
                    page = await anext(pages)
                    for obj in page.objects:
                        self._send("ADDED", self._shaped(obj))
                    revision, last = int(page.meta["resourceVersion"]), page.last
                    if last and self._options.end_marked:
                        self._bookmark(revision, {INITIAL_END: "true"})
                    await self._handler.flush()
        return revision

    async def _follow(self, revision: int, wake: asyncio.Event) -> None:
        changes = self._source.changes
        length = self._options.timeout_s or TIMEOUT_S_MIN * (1 + random.random())  # noqa: S311
        end = time.monotonic() + length
        bookmark = time.monotonic() + self._bookmark_every_s
        while not self._handler.client_left:
            wake.clear()
            revision = await self._catch_up(revision)
            now = time.monotonic()
            if changes.closed or self._handler.ended or now >= end:
                if self._options.bookmarks:
                    self._bookmark(revision)
                return
            if now >= bookmark:
                bookmark = now + self._bookmark_every_s
                if self._options.bookmarks:
                    self._bookmark(revision)
                    await self._handler.flush()
            try:
                await asyncio.wait_for(wake.wait(), min(end, bookmark) - now)
            except TimeoutError:
                continue  # time for a bookmark, or for the end

    async def _catch_up(self, revision: int) -> int:
        """Send every change above `revision`; returns the revision of the last one.

        Holds a few changes at a time: a client that reads slowly finds later that the others are
        not kept any more (Expired), instead of keeping them.
        """
        changes = self._source.changes
        while True:
            latest = changes.latest  # before sending, which takes time in which more changes come
            batch = changes.after(revision, _BATCH_BYTES)
            if not batch:
                return max(revision, latest)
            events = [
                (event, change) for change in batch if (event := self._event(change)) is not None
            ]
            if events:
                await self._send_changes(events)
            revision = batch[-1].revision

    async def _send_changes(self, events: Sequence[tuple[str, watch_cache.Change]]) -> None:
        objects = []
        for _, change in events:
            if change.shown is None:
                change.shown = asyncio.create_task(self._source.shown(change))
            objects.append(await asyncio.shield(change.shown))
        size = sum(change.size for _, change in events)
        async with self._room.room(self._holder, size, self._handler.cut):
            for (event, _), obj in zip(events, objects, strict=True):
                self._send(event, self._shaped(obj))
            await self._handler.flush()

    def _event(self, change: watch_cache.Change) -> str | None:
        """The event as this watcher's selectors see it: entering is ADDED, leaving is DELETED."""
        is_in, was_in = self._selects(change.obj), self._selects(change.previous)
        event: str = change.kind
        if event == "MODIFIED" and is_in != was_in:
            event = "ADDED" if is_in else "DELETED"
        return event if (was_in if event == "DELETED" else is_in) else None

    def _selects(self, obj: Mapping[str, Any] | None) -> bool:
        if obj is None:
            return False
        if self._namespace not in (None, obj["metadata"]["namespace"]):
            return False
        return self._source.matches(obj, self._selection)

    def _shaped(self, obj: Mapping[str, Any]) -> Mapping[str, Any]:
        kind, version = self._shape
        if not kind:
            return obj
        if kind != "Table":
            return tables.partial(obj, version)
        include = self._handler.query.get("includeObject") or "Metadata"
        meta = {"resourceVersion": obj["metadata"]["resourceVersion"]}
        columns = self._source.kind.columns
        headless, self._headed = self._headed, True
        return tables.table(columns, [obj], meta, version, include, headless)

    def _bookmark(self, revision: int, annotations: Mapping[str, str] | None = None) -> None:
        meta: dict[str, Any] = {"resourceVersion": str(revision), "creationTimestamp": None}
        if annotations:
            meta["annotations"] = dict(annotations)
        kind, version = self._shape
        head = {"kind": self._source.kind.kind, "apiVersion": self._group_version}
        if kind:
            head = {"kind": kind, "apiVersion": f"meta.k8s.io/{version}"}
        self._send("BOOKMARK", {**head, "metadata": meta})

    def _send(self, event: str, obj: Mapping[str, Any]) -> None:
        line = json.dumps({"type": event, "object": obj}, separators=(",", ":")) + "\n"
        self._handler.write(line)
        self._handler.sent_bytes += len(line)
