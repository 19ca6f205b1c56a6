"""Which dumps there are, as revisions: turns the store, which has none, into something to watch.

The store stays the only truth. The catalog holds keys only, is compared with the store whenever
somebody lists, and every few seconds while somebody watches. A revision is milliseconds since 1970,
then six digits that are this process's: it always grows, also over restarts. A revision from before
this process is answered by 410, and so is another replica's: replicas do not see a new dump at the
same instant, so a client that continued at another one's revision could miss dumps.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import logging
import secrets
import time
from collections.abc import Iterable, Mapping
from typing import Any

from coredumpd import errors
from coredumpd.apiserver.rest import watch_cache
from coredumpd.formats import layout
from coredumpd.server.coredumps import coredump
from coredumpd.server.dumps import inventory as inventories

FRESH_S = 0.5  # a list right after a crash should show it
_FRESH_FACTOR = 3  # times the length of a scan, so that listing cannot keep a slow store busy
WATCH_S = 2.0
_REST_FACTOR = 10  # times the length of a scan until the next one
_CHANGES_MAX = 1000  # of one scan; more than that is no event each: watchers list again
_PROCESSES = 1_000_000
_log = logging.getLogger(__name__)


@dataclasses.dataclass(slots=True)
class Entry:
    """A dump, and the revision at which it was first seen.

    `shown`: somebody was given the object. Of any other, no watcher learns that it is gone: it may
    be of a former namespace.
    """

    key: layout.DumpKey
    revision: int
    shown: bool = False


Entries = dict[str, Entry]  # by the dump's id; of one namespace


class Catalog:
    """Belongs to the event loop; scans run in the inventory's threads, one at a time."""

    def __init__(self, inventory: inventories.Inventory) -> None:
        self._inventory = inventory
        self._entries: dict[str, Entries] = {}  # by namespace
        self._scans: dict[str | None, tuple[float, float]] = {}  # when the last ended, its length
        self._lock = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None
        self._process = secrets.randbelow(_PROCESSES)
        self.changes = watch_cache.WatchCache(
            lambda revision: revision % _PROCESSES == self._process
        )
        self.revision = 0

    def start(self) -> None:
        """Begin to scan, whenever somebody watches. Call on the event loop."""
        self._task = asyncio.create_task(self._scan_for_watchers(), name="catalog")

    def stop(self) -> None:
        """Scan no more."""
        if self._task is not None:
            self._task.cancel()

    def entries(self, namespace: str) -> Mapping[str, Entry]:
        """The namespace's dumps by id, as of the last refresh."""
        return self._entries.get(namespace, {})

    def namespaces(self) -> list[str]:
        """Namespaces with dumps, as of the last refresh."""
        return sorted(self._entries)

    async def refresh(self, namespace: str | None, *, at_once: bool = False) -> None:
        """Compare with the store, unless that was just done. Raises StorageError, Unavailable."""
        async with self._lock:
            if self.changes.open and not at_once and self._is_fresh(namespace):
                return
            if not self.changes.open:
                namespace = None  # the first scan is of everything: events tell what is new
            began_s = time.monotonic()
            keys = await self._inventory.keys(namespace)
            present = await self._inventory.run(_by_namespace, keys)
            took_s = time.monotonic() - began_s
            await self._compare(namespace, present)
            if namespace is None:
                self._scans.clear()
            self._scans[namespace] = (time.monotonic(), took_s)

    def _is_fresh(self, namespace: str | None) -> bool:
        """Was this scanned a short while ago, compared with how long a scan takes?

        Or was everything scanned just now? A scan of everything takes long, and so counts as recent
        for long; that is no reason to be behind with one namespace, whose own scan is short.
        """
        now_s = time.monotonic()
        ended_s, took_s = self._scans.get(namespace, (0.0, 0.0))
        everything_s, _ = self._scans.get(None, (0.0, 0.0))
        return now_s < everything_s + FRESH_S or now_s < ended_s + max(
            FRESH_S, took_s * _FRESH_FACTOR
        )

    def reach(self, revision: int) -> int:
        """The present revision, which is not below `revision`. Call after a refresh.

        A revision of another server, or of one before, may be above ours although we have just
        looked: then ours moves on. Raises TooLargeResourceVersion for one that is still to come.
        """
        if revision > self.revision:
            now = max(self.revision, self._instant() * _PROCESSES + _PROCESSES - 1)
            if revision > now:
                raise errors.TooLargeResourceVersion(revision, self.revision)
            self.changes.advance(self._next_revision())
        return self.revision

    def forget(self, key: layout.DumpKey) -> None:
        """A dump was deleted by this server: tell watchers without a scan."""
        entry = self._entries.get(key.namespace, {}).pop(key.id, None)
        if entry is not None and entry.shown:
            self._push([self._deleted(entry)])

    async def _compare(self, namespace: str | None, present: dict[str, Entries]) -> None:
        names = set(present) | set(self._entries) if namespace is None else {namespace}
        new: list[layout.DumpKey] = []
        gone: list[Entry] = []
        for name in names:
            now, before = present.get(name, {}), self._entries.get(name, {})
            gone += [entry for id, entry in before.items() if id not in now]
            new += [entry.key for id, entry in now.items() if id not in before]
        if not self.changes.open or len(new) + len(gone) > _CHANGES_MAX:
            self._update(new, gone, self._next_revision())
            self.changes.start(self.revision)
            return
        if new or gone:
            await self._tell(new, gone)

    async def _tell(self, new: list[layout.DumpKey], gone: list[Entry]) -> None:
        """Take note of each change under a revision of its own, and push it to the watchers."""
        readable = await self._inventory.read(new)
        changes = [self._deleted(entry) for entry in gone if entry.shown]
        self._update((), gone, self.revision)
        for key in new:
            record = readable.get(key)
            if record is None:
                continue  # gone again, or not readable: not there, for now
            revision = self._next_revision()
            self._update([key], (), revision)
            self._entries[key.namespace][key.id].shown = True
            document = coredump.make(key, record, revision)
            changes.append(watch_cache.Change("ADDED", document, None, revision, _size(document)))
        self._push(changes)

    def _update(self, new: Iterable[layout.DumpKey], gone: Iterable[Entry], revision: int) -> None:
        for entry in gone:
            entries = self._entries[entry.key.namespace]
            del entries[entry.key.id]
            if not entries:
                del self._entries[entry.key.namespace]
        for key in new:
            self._entries.setdefault(key.namespace, {})[key.id] = Entry(key, revision)

    def _deleted(self, entry: Entry) -> watch_cache.Change:
        revision = self._next_revision()
        record = self._inventory.remembered(entry.key)
        if record is None:
            document = coredump.bare(entry.key, revision)
        else:
            document = coredump.make(entry.key, record, revision)
        return watch_cache.Change("DELETED", document, document, revision, _size(document))

    def _push(self, changes: list[watch_cache.Change]) -> None:
        self.changes.push(sorted(changes, key=lambda change: change.revision))

    def _next_revision(self) -> int:
        instant = max(self.revision // _PROCESSES + 1, self._instant() + 1)
        self.revision = instant * _PROCESSES + self._process
        return self.revision

    def _instant(self) -> int:
        return time.time_ns() // 1_000_000

    async def _scan_for_watchers(self) -> None:
        while True:
            began_s = time.monotonic()
            if self.changes.watchers or not self.changes.open:
                try:
                    await self.refresh(None)
                except errors.CoredumpdError as error:
                    _log.warning("dumps cannot be listed, later again: %s", error)
            took_s = time.monotonic() - began_s
            await asyncio.sleep(max(WATCH_S, took_s * _REST_FACTOR))


def _size(document: Mapping[str, Any]) -> int:
    """The memory that an object takes in the watch cache, in bytes."""
    return len(json.dumps(document)) + watch_cache.OBJECT_BYTES


def _by_namespace(keys: Iterable[layout.DumpKey]) -> dict[str, Entries]:
    """Where two dumps of a namespace share an id, the first by key has the name."""
    entries: dict[str, Entries] = {}
    for key in keys:
        entries.setdefault(key.namespace, {}).setdefault(key.id, Entry(key, 0))
    return entries
