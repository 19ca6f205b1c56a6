"""Which dumps are removed to keep a quota. Pure: `collector` removes them."""

from __future__ import annotations

import collections
import heapq
from collections.abc import Collection, Iterable

from coredumpd.formats import layout
from coredumpd.server.retention import listing


def select(
    dumps: Iterable[listing.Stored], quota: int, in_use: Collection[layout.DumpKey] = ()
) -> list[layout.DumpKey]:
    """Dumps of one namespace to remove, in order, until the rest fits into `quota` bytes.

    Each time the oldest dump of the pod that has the most dumps, so a pod in a crash loop pays for
    itself. Never the namespace's newest, even if it alone exceeds the quota; one that is `in_use`
    (being read) only when the others are not enough.
    """
    by_age = sorted(dumps, key=listing.age)
    excess = sum(dump.size for dump in by_age) - quota
    evictions: list[layout.DumpKey] = []
    if excess <= 0 or not by_age:
        return evictions
    removable = by_age[:-1]
    for spared in (in_use, ()):
        oldest = _oldest_of_fullest([dump for dump in removable if dump.key not in spared], excess)
        evictions += [dump.key for dump in oldest]
        excess -= sum(dump.size for dump in oldest)
        if excess <= 0 or not in_use:
            break
        gone = set(evictions)
        removable = [dump for dump in removable if dump.key not in gone]
    return evictions


def _oldest_of_fullest(removable: list[listing.Stored], excess: int) -> list[listing.Stored]:
    """From dumps sorted by age: the oldest of the fullest pod, until they have `excess` bytes."""
    pods: dict[str, collections.deque[listing.Stored]] = {}
    for dump in removable:
        pods.setdefault(dump.key.pod_uid, collections.deque()).append(dump)
    fullest = [(-len(dumps), listing.age(dumps[0]), uid) for uid, dumps in pods.items()]
    heapq.heapify(fullest)
    evictions = []
    while excess > 0 and fullest:
        *_, uid = heapq.heappop(fullest)
        dump = pods[uid].popleft()
        evictions.append(dump)
        excess -= dump.size
        if pods[uid]:
            heapq.heappush(fullest, (-len(pods[uid]), listing.age(pods[uid][0]), uid))
    return evictions
