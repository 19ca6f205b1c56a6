"""Which dumps under a namespace's name are of its present life, and which of nobody's. Blocks.

A record with the namespace's uid decides. One without is proven while its pod lives there: a note
beside the pod's dumps keeps the proof. What nobody proves is hidden from tenants, and after the
time by which clocks may differ it belongs to the host's namespace, where administrators see it.

Few records are read: those of crashes in the last hour, and those from about the time at which the
namespace was created. Others are taken for its own until its quota is reached.

Tested in: tests/unit/server/retention/test_collector.py
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Collection, Iterable
from typing import Protocol

from coredumpd.formats import layout
from coredumpd.server import cluster as clusters
from coredumpd.server.dumps import ownership, proofs
from coredumpd.server.retention import facts as fact_cache
from coredumpd.server.retention import listing

RECENT_S = 3600.0


class Store(proofs.Store, Protocol):
    """The part of `store.interface.Store` that is needed here."""

    def write_note(self, namespace: str, pod_uid: str, name: str, data: bytes) -> None: ...


@dataclasses.dataclass
class Lives:
    """Dumps under one name: of the present namespace, of a former one, of nobody."""

    own: list[listing.Stored] = dataclasses.field(default_factory=list)
    former: list[listing.Stored] = dataclasses.field(default_factory=list)
    nobodys: list[listing.Stored] = dataclasses.field(default_factory=list)


class Sorter:
    """For one thread at a time."""

    def __init__(
        self, store: Store, facts: fact_cache.Facts, clock: Callable[[], float] = time.time
    ) -> None:
        self._store = store
        self._facts = facts
        self._clock = clock

    def sort(
        self,
        namespace: clusters.Namespace,
        dumps: Iterable[listing.Stored],
        living: Collection[str],
    ) -> Lives:
        """`living`: the uids of the namespace's pods. Writes the notes that prove a dump.

        A dump that somebody may still prove is in none of the three. Raises StorageError.
        """
        lives, now_s = Lives(), self._clock()
        doubtful: list[listing.Stored] = []
        for dump in dumps:
            around_creation = dump.time_s < namespace.created_s + ownership.SKEW_S
            unclear = around_creation or dump.time_s > now_s - RECENT_S
            (doubtful if unclear else lives.own).append(dump)
        facts = self._facts.of(dump.key for dump in doubtful)
        for dump in doubtful:
            fact = facts.get(dump.key)
            if fact is not None and fact.namespace_uid is not None:
                is_own = fact.namespace_uid == namespace.uid
                (lives.own if is_own else lives.former).append(dump)
            elif fact is None or self._is_proven(namespace, dump.key, living):
                lives.own.append(dump)
            elif ownership.is_surely_before(namespace, dump.time_s):
                lives.former.append(dump)
            elif abs(now_s - dump.time_s) > ownership.SKEW_S:
                lives.nobodys.append(dump)
        return lives

    def _is_proven(
        self, namespace: clusters.Namespace, key: layout.DumpKey, living: Collection[str]
    ) -> bool:
        uid = proofs.uid_of(self._store, key.namespace, key.pod_uid)
        if uid is None and key.pod_uid in living and namespace.uid is not None:
            data = proofs.note(namespace.uid)
            self._store.write_note(key.namespace, key.pod_uid, proofs.NOTE, data)
            return True
        return uid is not None and uid == namespace.uid
