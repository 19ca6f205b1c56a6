"""Which dumps have to go. Pure: values in, keys out; `collector` does the work."""

from __future__ import annotations

import collections
import heapq
from collections.abc import Collection, Iterable

from coredumpd.formats import layout
from coredumpd.server.retention import listing


def choose_victims(
    stored: Iterable[listing.Stored], quota: int, in_use: Collection[layout.DumpKey] = ()
) -> list[layout.DumpKey]:
    """Dumps of one namespace to remove, in order, until `quota` bytes hold the rest.

    Each time the oldest dump of the pod that has the most dumps, so a pod in a crash loop pays for
    itself. Never the namespace's newest, even if it alone is over; one that is `in_use` (being
    read) only when the others are not enough.
    """
    left = sorted(stored, key=listing.age)
    excess = sum(dump.size for dump in left) - quota
    victims: list[layout.DumpKey] = []
    if excess <= 0 or not left:
        return victims
    removable = left[:-1]
    for spare in (in_use, ()):
        chosen = _choose([dump for dump in removable if dump.key not in spare], excess)
        victims += [dump.key for dump in chosen]
        excess -= sum(dump.size for dump in chosen)
        if excess <= 0 or not in_use:
            break
        gone = set(victims)
        removable = [dump for dump in removable if dump.key not in gone]
    return victims


def _choose(removable: list[listing.Stored], excess: int) -> list[listing.Stored]:
    """From dumps sorted by age: the oldest of the fullest pod, until `excess` bytes are found."""
    pods: dict[str, collections.deque[listing.Stored]] = {}
    for dump in removable:
        pods.setdefault(dump.key.pod_uid, collections.deque()).append(dump)
    fullest = [(-len(dumps), listing.age(dumps[0]), uid) for uid, dumps in pods.items()]
    heapq.heapify(fullest)
    chosen = []
    while excess > 0 and fullest:
        *_, uid = heapq.heappop(fullest)
        dump = pods[uid].popleft()
        chosen.append(dump)
        excess -= dump.size
        if pods[uid]:
            heapq.heappush(fullest, (-len(pods[uid]), listing.age(pods[uid][0]), uid))
    return chosen
