"""Garbage collection, by the one server that leads: deleted namespaces and pods, loops, quotas.

A pass goes over the store one namespace after the other. What Kubernetes gives no answer about
stays.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import io
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator
from typing import BinaryIO, Protocol

from coredumpd import errors
from coredumpd.formats import annotations as rules_of
from coredumpd.formats import core_index, crash_loop, layout, names
from coredumpd.formats import record as records
from coredumpd.server import cluster as clusters
from coredumpd.server.dumps import proofs
from coredumpd.server.retention import (
    crash_loops,
    deleted_pods,
    evictor,
    facts,
    fairness,
    listing,
    lives,
    quota,
)
from coredumpd.settings import sections
from coredumpd.store import interface, reader

_log = logging.getLogger(__name__)


class Store(Protocol):
    """The part of `in_use.CountingStore` that is needed here."""

    def files(self, prefix: layout.Prefix = ..., /) -> Iterator[interface.File]: ...
    def free_bytes(self) -> int | None: ...
    def open_core(self, key: layout.DumpKey) -> interface.Core: ...
    def read_record(self, key: layout.DumpKey) -> records.CrashRecord: ...
    def open_file(self, path: str) -> interface.Core: ...
    def commit(
        self,
        key: layout.DumpKey,
        record: records.CrashRecord,
        core: BinaryIO,
        index: core_index.Index | None = None,
        /,
    ) -> None: ...
    def delete(self, key: layout.DumpKey) -> None: ...
    def read_note(self, namespace: str, pod_uid: str, name: str) -> bytes | None: ...
    def write_note(self, namespace: str, pod_uid: str, name: str, data: bytes) -> None: ...
    def delete_note(self, namespace: str, pod_uid: str, name: str) -> None: ...
    def in_use(self) -> Collection[layout.DumpKey]: ...


class Cluster(Protocol):
    """The part of `cluster.KubeCluster` that is needed here."""

    def namespaces(self) -> AsyncIterator[clusters.Namespace]: ...
    async def namespace(self, name: str, *, fresh: bool = False) -> clusters.Namespace | None: ...
    async def living_uids(self, namespace: str) -> set[str]: ...


class Counters(Protocol):
    """`metrics.Retention`."""

    def removed(self, reason: str) -> None: ...
    def passed(self) -> None: ...


@dataclasses.dataclass(frozen=True)
class Rules:
    """The settings of a pass."""

    retention: sections.RetentionSettings
    crash_loop: sections.CrashLoopSettings
    keep_free: int = 0
    """Bytes below which uploads are refused: so much again is freed."""


@dataclasses.dataclass(frozen=True)
class Effects:
    """The effects of a pass on others, beside removing dumps."""

    publish: Callable[[Collection[str]], Awaitable[None]]
    """Tell the agents which namespaces may keep no new core."""
    write_event: quota.WriteEvent
    forget: Callable[[str, str], Awaitable[None]]
    """`forget(namespace, pod_uid)` removes what refers to a pod whose dumps are gone."""


class NotLeadingError(Exception):
    """Another server may lead by now: the pass ends where it is."""


class Collector:
    """Passes over the store."""

    def __init__(
        self,
        store: Store,
        cluster: Cluster,
        rules: Rules,
        leads: Callable[[], bool],
        effects: Effects,
        counters: Counters,
    ) -> None:
        """`leads` is called before every change of the store."""
        self._store = store
        self._cluster = cluster
        self._rules = rules.retention
        self._keep_free = rules.keep_free
        self._leads = leads
        self._effects = effects
        self._loops = crash_loops.CrashLoops(store, rules.crash_loop)
        self._deleted_pods = deleted_pods.DeletedPods(store)
        self._notifier = quota.Notifier(store, effects.write_event)
        fact_cache = facts.Facts(store)
        self._sorter = lives.Sorter(store, fact_cache)
        self._evictor = evictor.Evictor(store, fact_cache, self._notifier)
        self._reserve = self._rules.quotaReserve
        self._full: set[str] = set()  # namespaces that keep no new core
        self._counters = counters

    async def run(self) -> None:
        """A pass every interval while this server leads. A pass that fails is tried again."""
        while True:
            await asyncio.sleep(self._rules.interval)
            if not self._leads():
                continue
            try:
                await self.collect()
            except NotLeadingError:
                _log.info("another server leads, it continues to collect")
            except errors.CoredumpdError as error:
                _log.warning("collecting garbage stopped, again later: %s", error)

    async def collect(self) -> None:
        """One pass. Memory: the keys of one namespace.

        Raises StorageError, Unavailable, NotLeadingError.
        """
        namespaces = {one.name: one async for one in self._cluster.namespaces()}
        held: dict[str, int] = {}  # bytes, by namespace
        groups = await asyncio.to_thread(listing.Namespaces, self._store.files())
        while (group := await asyncio.to_thread(groups.next)) is not None:
            name, dumps = group
            held[name] = sum(dump.size for dump in dumps)
            if name == names.HOST_NAMESPACE:
                remaining = await self._fold(name, dumps)
                await self._keep_quota(name, None, remaining, self._rules.quota, reject=False)
            elif name in namespaces:
                try:
                    await self._of_namespace(namespaces[name], dumps)
                except (errors.Unavailable, errors.Forbidden) as error:
                    _log.warning("nothing is removed in %s, no answer about it: %s", name, error)
            # The list may be older than the namespace: ask once more, by name.
            elif await self._cluster.namespace(name, fresh=True) is None:
                _log.info("namespace %s is deleted, so are its %d dumps", name, len(dumps))
                await self._remove_pods(name, dumps, "namespace")
        await self._free_space(held, {name: one.uid for name, one in namespaces.items()})
        self._full &= namespaces.keys()
        await self._effects.publish(self._full)
        self._counters.passed()

    async def _free_space(self, held: dict[str, int], uids: dict[str, str | None]) -> None:
        """Where the disk is nearly full, the namespaces that hold the most give dumps; every pod
        keeps its newest. `uids`: of the namespaces there are.
        """
        free = await asyncio.to_thread(self._store.free_bytes)
        if free is None or self._rules.onQuota != "evict":
            return
        excess = 2 * self._keep_free - free
        there = {name: size for name, size in held.items() if name in uids}
        for name, cut in (fairness.cuts(there, excess) if excess > 0 else {}).items():
            group = await asyncio.to_thread(
                listing.Namespaces(self._store.files(layout.Prefix(name))).next
            )
            holding = await self._evictor.holding(group[1] if group else [], uids[name])
            plan = holding.plan_sparing(cut)
            await self._evictor.evict(plan, quota.NO_SPACE, self._remove_for_space)

    async def _remove_for_space(self, key: layout.DumpKey) -> None:
        await self._remove(key, "space")

    async def _of_namespace(
        self, namespace: clusters.Namespace, dumps: list[listing.Stored]
    ) -> None:
        name, rules = namespace.name, self._rules_of(namespace)
        living = await self._cluster.living_uids(name)
        sorted_dumps = await asyncio.to_thread(self._sorter.sort, namespace, dumps, living)
        await self._remove_pods(name, sorted_dumps.former, "namespace")
        for dump in sorted_dumps.nobodys:
            await self._give_to_host(dump.key)
        remaining = sorted_dumps.own
        expired = await self._deleted_pods.expired(name, remaining, living, rules.keep_s)
        await self._remove_pods(name, expired, "pod")
        remaining = await self._fold(name, _without(remaining, expired))
        reject = self._rules.onQuota == "reject"
        await self._keep_quota(name, namespace.uid, remaining, rules.quota, reject=reject)

    async def _give_to_host(self, key: layout.DumpKey) -> None:
        """Move a dump that nobody proves to be of this namespace to where only clusters' roles see
        it: first it is there, then it is removed here.
        """
        try:
            record = await asyncio.to_thread(self._store.read_record, key)
            moved = record.with_(namespace=names.HOST_NAMESPACE)
            self._check_leads()
            await asyncio.to_thread(self._copy, key, moved)
        except errors.NotFound:
            return  # its owner was faster
        except (errors.BadRecord, errors.AlreadyExists) as error:
            _log.warning(
                "%s is hidden, and cannot be moved to %s: %s", key, names.HOST_NAMESPACE, error
            )
            return
        _log.warning("nobody proves that %s is of that namespace: it is %s now", key, moved.key())
        await self._remove(key, "unproven")

    def _copy(self, key: layout.DumpKey, record: records.CrashRecord) -> None:
        with contextlib.closing(self._store.open_core(key)) as core:
            index = reader.index(self._store, key, record)
            self._store.commit(
                record.key(), record, reader.verified(core, record.stored_crc32), index
            )

    async def _fold(self, namespace: str, dumps: list[listing.Stored]) -> list[listing.Stored]:
        """Fold the crash loops among `dumps`; returns the dumps that there are afterwards."""
        in_use = self._store.in_use()
        folds = await asyncio.to_thread(self._loops.folds, namespace, dumps, in_use)
        remaining = {dump.key: dump for dump in dumps}
        for fold in folds:
            if fold.counting is not None:
                self._check_leads()
                key = fold.counting.key()
                core = io.BytesIO(crash_loop.NO_CORE)
                await asyncio.to_thread(self._store.commit, key, fold.counting, core)
                size = len(crash_loop.NO_CORE)
                remaining[key] = listing.Stored(key, size, names.id_time(key.id))
                _log.info("%s counts %d dumps of a crash loop", key, len(fold.counted))
            for counted in fold.counted:
                await self._remove(counted, "crash-loop")
                remaining.pop(counted, None)
        return list(remaining.values())

    async def _keep_quota(
        self,
        namespace: str,
        uid: str | None,
        dumps: list[listing.Stored],
        quota_bytes: int,
        *,
        reject: bool,
    ) -> None:
        usage = quota.Usage(sum(dump.size for dump in dumps), quota_bytes, reject, self._reserve)
        plan: list[layout.DumpKey] = []
        surplus = len(dumps) - self._rules.dumpsMax
        if surplus > 0 and not reject:
            holding = await self._evictor.holding(dumps, uid)
            surplus = len(holding.dumps) - self._rules.dumpsMax
            gone = holding.plan_count(surplus)
            await self._evictor.evict(gone, quota.too_many(self._rules.dumpsMax), self._remove_over)
            removed = set(gone)
            dumps = [dump for dump in dumps if dump.key not in removed]
            usage = quota.Usage(sum(d.size for d in dumps), quota_bytes, reject, self._reserve)
        if usage.excess > 0:  # who really holds that much, only the records tell
            holding = await self._evictor.holding(dumps, uid)
            usage = quota.Usage(holding.used, quota_bytes, reject, self._reserve)
            plan = [] if reject else holding.plan(usage.excess)
            if not reject and holding.bytes_of(plan) < usage.excess:
                usage.is_full = True  # only pinned dumps are left: new ones must not come
        if dumps:
            newest = max(dumps, key=listing.age)
            await self._notifier.near(namespace, usage, newest.key)
        self._full.discard(namespace)
        if usage.is_full:
            self._full.add(namespace)
        await self._evictor.evict(plan, quota.over(quota_bytes), self._remove_over)

    async def _remove_over(self, key: layout.DumpKey) -> None:
        await self._remove(key, "quota")

    async def _remove_pods(self, namespace: str, dumps: list[listing.Stored], reason: str) -> None:
        for uid, dumps_of_pod in listing.by_pod(dumps).items():
            for dump in dumps_of_pod:
                await self._remove(dump.key, reason)
            await self._deleted_pods.forget(namespace, uid)
            await asyncio.to_thread(self._store.delete_note, namespace, uid, proofs.NOTE)
            await self._effects.forget(namespace, uid)

    async def _remove(self, key: layout.DumpKey, reason: str) -> None:
        self._check_leads()
        try:
            await asyncio.to_thread(self._store.delete, key)
        except errors.NotFound:
            return  # its owner was faster
        self._counters.removed(reason)

    def _check_leads(self) -> None:
        if not self._leads():
            raise NotLeadingError

    def _rules_of(self, namespace: clusters.Namespace) -> rules_of.Retention:
        """The rules of a namespace. An unreadable annotation is logged; the default holds."""
        default = rules_of.Retention(self._rules.quota, self._rules.gcThreshold)
        rules, problems = rules_of.retention_of(namespace.annotations, default)
        for problem in problems:
            _log.warning("namespace %s: %s", namespace.name, problem)
        return rules


def _without(
    dumps: list[listing.Stored], others: Collection[listing.Stored]
) -> list[listing.Stored]:
    keys = {dump.key for dump in others}
    return [dump for dump in dumps if dump.key not in keys]
