"""Which dumps have to go. Pure: values in, keys out; `collector` does the work."""

from __future__ import annotations

import collections
import dataclasses
import heapq
from collections.abc import Collection, Iterable

from coredumpd import record


@dataclasses.dataclass(frozen=True)
class Stored:
    """One dump: where it is, how many bytes its core takes, when it crashed (epoch, seconds)."""

    key: record.DumpKey
    size: int
    time_s: int


def choose_victims(
    stored: Iterable[Stored], quota: int, in_use: Collection[record.DumpKey] = ()
) -> list[record.DumpKey]:
    """Dumps of one namespace to remove, in order, until `quota` bytes hold the rest.

    Each time the oldest dump of the pod that has the most dumps, so a pod in a crash loop pays for
    itself. Never the namespace's newest, even if it alone is over; one that is `in_use` (being
    read) only when the others are not enough.
    """
    left = sorted(stored, key=age)
    excess = sum(dump.size for dump in left) - quota
    victims: list[record.DumpKey] = []
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


def age(dump: Stored) -> tuple[int, str]:
    """What orders dumps: the time of the crash, then the name."""
    return dump.time_s, str(dump.key)


def _choose(removable: list[Stored], excess: int) -> list[Stored]:
    """From dumps sorted by age: the oldest of the fullest pod, until `excess` bytes are found."""
    pods: dict[str, collections.deque[Stored]] = {}
    for dump in removable:
        pods.setdefault(dump.key.pod_uid, collections.deque()).append(dump)
    fullest = [(-len(dumps), age(dumps[0]), uid) for uid, dumps in pods.items()]
    heapq.heapify(fullest)
    chosen = []
    while excess > 0 and fullest:
        *_, uid = heapq.heappop(fullest)
        dump = pods[uid].popleft()
        chosen.append(dump)
        excess -= dump.size
        if pods[uid]:
            heapq.heappush(fullest, (-len(pods[uid]), age(pods[uid][0]), uid))
    return chosen


def is_of_namespace(
    recorded_uid: str | None, time_s: float, namespace_uid: str, created_s: float
) -> bool:
    """Does a dump belong to this namespace, and not to an earlier one of the same name?

    By the namespace's uid where the record has it; else by time, since nothing can crash in a
    namespace before it was made.
    """
    if recorded_uid is not None:
        return recorded_uid == namespace_uid
    return time_s >= created_s
