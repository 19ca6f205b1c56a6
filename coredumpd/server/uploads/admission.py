"""Is there room for a dump? Decided when its record has come, before its core is written.

A running upload reserves its bytes, so several together cannot pass a quota that each alone would
keep. Where there is no room, dumps are evicted by the plan of `retention` or, if that does not help
or is not wanted, the dump is cut: its record is kept and says why, its core is not.

Tested in: tests/integration/server/test_admission.py
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import dataclasses
import logging
import weakref
from collections.abc import AsyncIterator, Callable, Iterator
from typing import NamedTuple, Protocol

from coredumpd import errors, units
from coredumpd.formats import annotations as rules_of
from coredumpd.formats import event_reasons, layout
from coredumpd.formats import record as records
from coredumpd.server.retention import evictor as evictors
from coredumpd.server.retention import listing, quota
from coredumpd.server.uploads import origin as origins
from coredumpd.settings import sections
from coredumpd.store import interface

SPACE_RETRY_AFTER_S = 60
_log = logging.getLogger(__name__)


class Store(Protocol):
    """The part of `in_use.CountingStore` that is needed here."""

    def files(self, prefix: layout.Prefix = ..., /) -> Iterator[interface.File]: ...
    def read_record(self, key: layout.DumpKey) -> records.CrashRecord: ...
    def delete(self, key: layout.DumpKey) -> None: ...
    def free_bytes(self) -> int | None: ...


@dataclasses.dataclass(frozen=True)
class Effects:
    """The effects of an admission on others."""

    write_event: quota.WriteEvent
    evicted: Callable[[], None] = lambda: None
    cut: Callable[[], None] = lambda: None


class _Need(NamedTuple):
    """The room that a dump needs beside those that are stored. Pure."""

    size: int  # bytes of its core.gz and core.index
    reserved: int  # bytes of other uploads that are running
    running: int  # their number
    limit: int  # bytes that the namespace may keep
    dumps_max: int

    def excess(self, dumps: list[listing.Stored]) -> int:
        """Bytes that must go."""
        return sum(dump.size for dump in dumps) + self.reserved + self.size - self.limit

    def surplus(self, dumps: list[listing.Stored]) -> int:
        """Dumps that must go."""
        return len(dumps) + self.running + 1 - self.dumps_max


class Admission:
    """Belongs to one event loop."""

    def __init__(
        self,
        store: Store,
        evictor: evictors.Evictor,
        rules: sections.RetentionSettings,
        keep_free: int,
        effects: Effects,
    ) -> None:
        """`keep_free`: bytes that stay free in the store's file system."""
        self._store = store
        self._evictor = evictor
        self._rules = rules
        self._keep_free = keep_free
        self.effects = effects
        # By namespace and dump: the bytes of running uploads.
        self._reserved: dict[str, collections.Counter[layout.DumpKey]]
        self._reserved = collections.defaultdict(collections.Counter)
        self._locks: weakref.WeakValueDictionary[str, asyncio.Lock]
        self._locks = weakref.WeakValueDictionary()  # by namespace: one admission at a time

    @contextlib.asynccontextmanager
    async def room(self, origin: origins.Origin) -> AsyncIterator[bool]:
        """Is there room for the core? It is reserved while the block runs.

        Raises Unavailable while the store's file system is too full for any dump, TooManyRequests
        for a namespace with too many dumps of which none may go; StorageError.
        """
        record = origin.record
        name, size = record.key().namespace, record.dump_size
        if await asyncio.to_thread(self._is_there, record.key()):
            yield True  # sent twice: the commit compares the two
            return
        lock = self._locks.setdefault(name, asyncio.Lock())
        async with lock:
            await self._check_free(size)
            fits = await self._fits(origin, name, size)
            self._reserved[name][record.key()] += size if fits else 0
        try:
            if not fits:
                await self._report_cut(origin)
            yield fits
        finally:
            self._reserved[name][record.key()] -= size if fits else 0
            self._reserved[name] = +self._reserved[name]  # without what is zero
            if not self._reserved[name]:
                del self._reserved[name]

    def _is_there(self, key: layout.DumpKey) -> bool:
        try:
            self._store.read_record(key)
        except (errors.NotFound, errors.BadRecord):
            return False
        return True

    async def _check_free(self, size: int) -> None:
        free = await asyncio.to_thread(self._store.free_bytes)
        reserved = sum(sizes.total() for sizes in self._reserved.values())
        if free is None or free - reserved - size >= self._keep_free:
            return
        kept = units.format_quantity(self._keep_free)
        error = errors.Unavailable(
            f"the store is too full for {units.format_quantity(size)} more: {kept} stay free"
        )
        error.retry_after_s = SPACE_RETRY_AFTER_S
        raise error

    async def _fits(self, origin: origins.Origin, name: str, size: int) -> bool:
        """Does it fit into the quota, perhaps once others are evicted?"""
        limit, uid = self._rules.quota, None
        if origin.namespace is not None:
            uid = origin.namespace.uid
            default = rules_of.Retention(limit, self._rules.gcThreshold)
            limit = rules_of.retention_of(origin.namespace.annotations, default)[0].quota
        dumps = await asyncio.to_thread(self._dumps, name)
        # An upload may have been committed, and hold its reservation for a moment still.
        listed = {dump.key for dump in dumps}
        running = {key: size for key, size in self._reserved[name].items() if key not in listed}
        need = _Need(size, sum(running.values()), len(running), limit, self._rules.dumpsMax)
        if need.surplus(dumps) <= 0 and need.excess(dumps) <= 0:
            return True
        holding = await self._evictor.holding(dumps, uid)
        may_evict = self._rules.onQuota == "evict" or origin.namespace is None
        may_evict = may_evict and origin.record.attribution != records.UNPROVEN
        plan = holding.plan_count(need.surplus(holding.dumps)) if may_evict else []
        left = holding.without(set(plan))
        if need.surplus(left.dumps) > 0:
            error = errors.TooManyRequests(f"namespace {name} has {need.dumps_max} dumps, the most")
            error.retry_after_s = SPACE_RETRY_AFTER_S
            raise error
        excess = need.excess(left.dumps)
        more = left.plan(excess) if may_evict and size <= limit else []
        if left.bytes_of(more) < excess:
            more = []  # pinned dumps, or other uploads: nothing goes in vain
        await self._evictor.evict(plan, quota.too_many(need.dumps_max), self._remove)
        await self._evictor.evict(more, quota.over(limit), self._remove)
        return excess <= 0 or bool(more)

    def _dumps(self, name: str) -> list[listing.Stored]:
        group = listing.Namespaces(self._store.files(layout.Prefix(name))).next()
        return [] if group is None else group[1]

    async def _remove(self, key: layout.DumpKey) -> None:
        with contextlib.suppress(errors.NotFound):  # its owner was faster
            await asyncio.to_thread(self._store.delete, key)
            self.effects.evicted()

    async def _report_cut(self, origin: origins.Origin) -> None:
        record = origin.record
        self.effects.cut()
        size = units.format_quantity(record.dump_size)
        sentence = f"no room within the quota for a core of {size}: only its record is kept"
        _log.warning("%s: %s", record.key(), sentence)
        if origin.namespace is not None and record.pod_name and record.pod_uid:
            await self.effects.write_event(
                origin.namespace.name,
                record.pod_name,
                record.pod_uid,
                event_reasons.QUOTA,
                sentence,
            )
