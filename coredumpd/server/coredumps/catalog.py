"""Which dumps there are, as revisions: turns the store, which has none, into something to watch.

The store stays the only truth. The catalog holds keys only, is compared with the store whenever
somebody lists, and every few seconds while somebody watches. A revision is milliseconds since 1970,
then six digits that are this process's: it always grows, also over restarts. What happened before
this process is 410, and so is what another one counts: replicas do not see a dump at one instant,
and who went on at another's revision could miss some.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import secrets
import time
from collections.abc import Iterable, Mapping

from coredumpd import errors
from coredumpd.apiserver.rest import watch_cache
from coredumpd.formats import layout
from coredumpd.server.coredumps import coredump
from coredumpd.server.dumps import inventory

FRESH_S = 0.5  # who lists right after a crash wants to see it
_FRESH_FACTOR = 3  # of a scan's own length, so that listing cannot keep a slow store busy
WATCH_S = 2.0
_REST = 10  # a scan that takes long is repeated after so many times its own length
_NEWS_MAX = 1000  # more at once than anybody wants as events: watchers list again
_PROCESSES = 1_000_000
_EVENT_BYTES = 4096  # what a change is taken to weigh in the feed
_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, slots=True)
class Known:
    """A dump, and the revision at which it was first seen."""

    key: layout.DumpKey
    revision: int


Names = Mapping[str, Known]  # by id; one namespace


class Catalog:
    """Belongs to the event loop; scans run in the inventory's threads, one at a time."""

    def __init__(self, stored: inventory.Inventory) -> None:
        self._stored = stored
        self._known: dict[str, dict[str, Known]] = {}
        self._looked: dict[str | None, tuple[float, float]] = {}  # when it ended, how long it took
        self._scan = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None
        self._process = secrets.randbelow(_PROCESSES)
        self.changes = watch_cache.WatchCache(
            lambda revision: revision % _PROCESSES == self._process
        )
        self.revision = 0

    def start(self) -> None:
        """Begin to look, while somebody watches. Call on the event loop."""
        self._task = asyncio.create_task(self._look(), name="catalog")

    def stop(self) -> None:
        """Look no more."""
        if self._task is not None:
            self._task.cancel()

    def names(self, namespace: str) -> Names:
        """What was known of a namespace at the last refresh."""
        return self._known.get(namespace, {})

    def namespaces(self) -> list[str]:
        """Namespaces with dumps, as of the last refresh."""
        return sorted(self._known)

    async def refresh(self, namespace: str | None, *, at_once: bool = False) -> None:
        """Compare with the store, unless that was just done. Raises StorageError."""
        async with self._scan:
            if self.changes.open and not at_once and self._is_fresh(namespace):
                return
            if not self.changes.open:
                namespace = None  # the first look is at everything: events tell what is new
            began = time.monotonic()
            keys = await self._stored.run(_keys, self._stored.store, namespace)
            took = time.monotonic() - began
            await self._compare(namespace, keys)
            if namespace is None:
                self._looked.clear()
            self._looked[namespace] = (time.monotonic(), took)

    def _is_fresh(self, namespace: str | None) -> bool:
        """Was just this looked at a short while ago, as looking goes? Or everything, right now?

        A long look at everything is no reason to be behind with one namespace, a shorter look.
        """
        now = time.monotonic()
        ended, took = self._looked.get(namespace, (0.0, 0.0))
        of_all, _ = self._looked.get(None, (0.0, 0.0))
        return now < of_all + FRESH_S or now < ended + max(FRESH_S, took * _FRESH_FACTOR)

    def forget(self, key: layout.DumpKey) -> None:
        """A dump was deleted here: say so without looking."""
        known = self._known.get(key.namespace, {}).pop(key.id, None)
        if known is not None:
            self._tell([self._gone(known)])

    async def _compare(self, namespace: str | None, keys: dict[str, dict[str, Known]]) -> None:
        places = set(keys) | set(self._known) if namespace is None else {namespace}
        new: list[layout.DumpKey] = []
        gone: list[Known] = []
        for place in places:
            there, known = keys.get(place, {}), self._known.get(place, {})
            gone += [entry for id, entry in known.items() if id not in there]
            new += [entry.key for id, entry in there.items() if id not in known]
        if not self.changes.open or len(new) + len(gone) > _NEWS_MAX:
            self._learn(new, gone, self._next_revision())
            self.changes.start(self.revision)
            return
        if new or gone:
            crashes = await self._stored.run(self._stored.records, new)
            changes = [self._gone(entry) for entry in gone]
            self._learn((), gone, self.revision)
            for key in new:
                crash = crashes.get(key)
                if crash is None:
                    continue  # gone again, or not readable: not there, for now
                revision = self._next_revision()
                self._learn([key], (), revision)
                entry = coredump.make(key, crash, revision)
                changes.append(watch_cache.Change("ADDED", entry, None, revision, _EVENT_BYTES))
            self._tell(changes)

    def _learn(self, new: Iterable[layout.DumpKey], gone: Iterable[Known], revision: int) -> None:
        for entry in gone:
            names = self._known[entry.key.namespace]
            del names[entry.key.id]
            if not names:
                del self._known[entry.key.namespace]
        for key in new:
            self._known.setdefault(key.namespace, {})[key.id] = Known(key, revision)

    def _gone(self, known: Known) -> watch_cache.Change:
        revision = self._next_revision()
        crash = self._stored.remembered(known.key)
        if crash is None:
            entry = coredump.bare(known.key, revision)
        else:
            entry = coredump.make(known.key, crash, revision)
        return watch_cache.Change("DELETED", entry, entry, revision, _EVENT_BYTES)

    def _tell(self, changes: list[watch_cache.Change]) -> None:
        self.changes.push(sorted(changes, key=lambda change: change.revision))

    def _next_revision(self) -> int:
        instant = max(self.revision // _PROCESSES + 1, time.time_ns() // 1_000_000)
        self.revision = instant * _PROCESSES + self._process
        return self.revision

    async def _look(self) -> None:
        while True:
            began = time.monotonic()
            if self.changes.watchers or not self.changes.open:
                try:
                    await self.refresh(None)
                except errors.CoredumpdError as error:
                    _log.warning("dumps cannot be listed, later again: %s", error)
            took = time.monotonic() - began
            await asyncio.sleep(max(WATCH_S, took * _REST))


def _keys(store: inventory.Store, namespace: str | None) -> dict[str, dict[str, Known]]:
    """Blocks. Where two dumps of a namespace share an id, the first by key has the name."""
    found: dict[str, dict[str, Known]] = {}
    for key in store.list(layout.Prefix(namespace)):
        found.setdefault(key.namespace, {}).setdefault(key.id, Known(key, 0))
    return found
