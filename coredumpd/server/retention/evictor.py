"""Frees bytes among the dumps of one namespace: plans by `eviction`, tells the pods, removes.

Tested in: tests/unit/server/retention/test_collector.py
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from collections.abc import Awaitable, Callable, Collection, Iterable
from typing import NamedTuple, Protocol

from coredumpd.formats import layout
from coredumpd.server.retention import eviction, listing, quota
from coredumpd.server.retention import facts as fact_cache

_log = logging.getLogger(__name__)
Remove = Callable[[layout.DumpKey], Awaitable[None]]


class Store(fact_cache.Store, Protocol):
    """The part of `in_use.CountingStore` that is needed here."""

    def in_use(self) -> Collection[layout.DumpKey]: ...


class Holding(NamedTuple):
    """The dumps of a namespace's present life, and the plan's marks of them."""

    dumps: list[listing.Stored]
    marks: eviction.Marks

    @property
    def used(self) -> int:
        """Bytes of core.gz."""
        return sum(dump.size for dump in self.dumps)

    def plan(self, excess: int) -> list[layout.DumpKey]:
        """The dumps to remove for `excess` bytes, see `eviction.plan`."""
        return eviction.plan(self.dumps, excess, self.marks)

    def plan_sparing(self, excess: int) -> list[layout.DumpKey]:
        """The dumps to remove for up to `excess` bytes, see `eviction.plan_sparing`."""
        return eviction.plan_sparing(self.dumps, excess, self.marks)

    def plan_count(self, excess: int) -> list[layout.DumpKey]:
        """The dumps to remove so that there are `excess` fewer: the same plan, each counting 1."""
        equal = [dataclasses.replace(dump, size=1) for dump in self.dumps]
        return eviction.plan(equal, excess, self.marks)

    def without(self, keys: Collection[layout.DumpKey]) -> Holding:
        """The holding once `keys` are removed."""
        return Holding([dump for dump in self.dumps if dump.key not in keys], self.marks)

    def bytes_of(self, keys: Iterable[layout.DumpKey]) -> int:
        """Bytes that removing `keys` frees."""
        sizes = {dump.key: dump.size for dump in self.dumps}
        return sum(sizes[key] for key in keys)


class Evictor:
    """Belongs to one event loop; asks for one namespace at a time."""

    def __init__(self, store: Store, facts: fact_cache.Facts, notifier: quota.Notifier) -> None:
        self._store = store
        self._facts = facts
        self._notifier = notifier
        self._lock = asyncio.Lock()

    async def holding(self, dumps: Collection[listing.Stored], uid: str | None) -> Holding:
        """Of these dumps, those of the namespace with that uid (None: of any), with their marks.

        Reads the records of all that are not remembered. Raises StorageError.
        """
        async with self._lock:  # `Facts` is for one thread at a time
            facts = await asyncio.to_thread(self._facts.of, [dump.key for dump in dumps])
        own = [
            dump
            for dump in dumps
            if (fact := facts.get(dump.key)) is None
            or uid is None
            or fact.namespace_uid in (None, uid)
        ]
        marks = eviction.Marks(
            pinned={key for key, fact in facts.items() if fact.pinned},
            unproven={key for key, fact in facts.items() if fact.unproven and uid is not None},
            in_use=self._store.in_use(),
        )
        return Holding(own, marks)

    async def evict(self, keys: Collection[layout.DumpKey], cause: str, remove: Remove) -> None:
        """Tell the pods whose dumps these are, then remove each. Raises as `remove`."""
        await self._notifier.evicted(keys, cause)
        for key in keys:
            _log.info("removed, %s: %s", cause, key)
            await remove(key)
