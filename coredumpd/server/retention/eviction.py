"""Which dumps are removed to free bytes, with the least loss. Pure: others remove them.

In this order: dumps that nobody but their node vouches for; dumps of pods that keep another one;
and only when those are not enough, a pod's last dump, of as few pods as possible. Within each step
the pod that holds the most bytes gives first, its oldest dump first. Dumps that are being read come
after all others, pinned ones never. In the end every dump stays that need not have gone.
"""

from __future__ import annotations

import collections
import dataclasses
import heapq
from collections.abc import Callable, Collection, Iterable, Sequence

from coredumpd.formats import layout
from coredumpd.server.retention import listing

Dumps = list[listing.Stored]


@dataclasses.dataclass(frozen=True)
class Marks:
    """Dumps that are no ordinary choice."""

    pinned: Collection[layout.DumpKey] = ()
    """Never removed."""
    unproven: Collection[layout.DumpKey] = ()
    """Removed before all others: only their node says whose they are."""
    in_use: Collection[layout.DumpKey] = ()
    """Being read now: removed after all others."""


NO_MARKS = Marks()


def plan(
    dumps: Iterable[listing.Stored], excess: int, marks: Marks = NO_MARKS
) -> list[layout.DumpKey]:
    """The dumps to remove, in order, so that `excess` bytes are freed.

    If all that may go is not enough, all of it goes.
    """
    present = sorted(dumps, key=listing.age)
    victims: Dumps = []
    for candidates in _in_turn(present, marks):
        need = excess - _bytes(victims)
        if need <= 0:
            break
        gone = {dump.key for dump in victims}
        remaining = [dump for dump in present if dump.key not in gone]
        victims += _of(candidates, remaining, need)
    return [dump.key for dump in _without_superfluous(victims, present, excess)]


def plan_sparing(
    dumps: Iterable[listing.Stored], excess: int, marks: Marks = NO_MARKS
) -> list[layout.DumpKey]:
    """As `plan`, but every pod keeps its newest dump and no dump that is being read goes, even if
    less than `excess` is freed.
    """
    present = list(dumps)
    fixed = Marks(pinned={*marks.pinned, *marks.in_use})
    candidates = [dump for dump in present if dump.key not in fixed.pinned]
    spare = _bytes(_spare(candidates, present, _newest))
    return plan(present, min(excess, spare), fixed)


def _in_turn(present: Dumps, marks: Marks) -> Iterable[Dumps]:
    """The candidates: each list is used up before the next is begun."""
    ranks: dict[int, Dumps] = {0: [], 1: [], 2: []}
    for dump in present:
        if dump.key in marks.pinned or not dump.size:
            continue
        rank = 2 if dump.key in marks.in_use else 0 if dump.key in marks.unproven else 1
        ranks[rank].append(dump)
    return ranks.values()


def _of(candidates: Dumps, remaining: Dumps, need: int) -> Dumps:
    """Candidates that free `need` bytes; all of them if that is too little.

    First so that every pod keeps its newest dump, else so that as few pods as possible keep none.
    `remaining`: every dump that is still there.
    """
    if need >= _bytes(candidates):
        return candidates
    spare = _spare(candidates, remaining, _newest)
    if _bytes(spare) >= need:
        return _from_biggest_holder(spare, remaining, need)
    return _emptying_few_pods(candidates, remaining, need)


def _newest(dump: listing.Stored) -> tuple[int, ...]:
    time_s, pid, _ = listing.age(dump)
    return -time_s, -pid


def _smallest(dump: listing.Stored) -> tuple[int, ...]:
    return dump.size, -dump.time_s


def _spare(
    candidates: Dumps, remaining: Dumps, kept: Callable[[listing.Stored], tuple[int, ...]]
) -> Dumps:
    """The candidates without one for each pod that has no other dump, the first by `kept`."""
    others = collections.Counter(dump.key.pod_uid for dump in remaining)
    spare: Dumps = []
    for pod, mine in listing.by_pod(candidates).items():
        if others[pod] == len(mine):  # all its dumps are candidates: one of them stays
            stays = min(mine, key=kept)
            spare += [dump for dump in mine if dump is not stays]
        else:
            spare += mine
    return spare


def _emptying_few_pods(candidates: Dumps, remaining: Dumps, need: int) -> Dumps:
    """Of every pod its smallest dump stays; if that is not enough, the largest of these go, too."""
    spare = _spare(candidates, remaining, _smallest)
    keys = {dump.key for dump in spare}
    lasts = sorted((dump for dump in candidates if dump.key not in keys), key=_smallest)
    emptied: Dumps = []
    while _bytes(spare) + _bytes(emptied) < need:
        emptied.append(lasts.pop())
    if (rest := need - _bytes(emptied)) > 0:
        emptied += _from_biggest_holder(spare, remaining, rest)
    return emptied


def _from_biggest_holder(spare: Dumps, remaining: Dumps, need: int) -> Dumps:
    """`need` bytes of `spare`: each time the oldest of the pod that holds the most bytes."""
    held: collections.Counter[str] = collections.Counter()
    for dump in remaining:
        held[dump.key.pod_uid] += dump.size
    queues = {
        pod: collections.deque(sorted(mine, key=listing.age))
        for pod, mine in listing.by_pod(spare).items()
    }
    heap = [(-held[pod], listing.age(queue[0]), pod) for pod, queue in queues.items()]
    heapq.heapify(heap)
    victims: Dumps = []
    while need > 0 and heap:
        *_, pod = heapq.heappop(heap)
        dump = queues[pod].popleft()
        victims.append(dump)
        need -= dump.size
        held[pod] -= dump.size
        if queues[pod]:
            heapq.heappush(heap, (-held[pod], listing.age(queues[pod][0]), pod))
    return victims


def _without_superfluous(victims: Dumps, present: Dumps, excess: int) -> Dumps:
    """`victims` without those that need not go, the ones chosen last being spared first.

    A dump is spared that would have been a pod's last before any other one.
    """
    surplus = _bytes(victims) - excess
    alive = collections.Counter(dump.key.pod_uid for dump in present)
    alive.subtract(dump.key.pod_uid for dump in victims)
    kept = list(victims)
    for emptied in (True, False):
        for _, dump in sorted(enumerate(kept), key=lambda pair: (-pair[1].size, -pair[0])):
            if dump.size <= surplus and (not emptied or not alive[dump.key.pod_uid]):
                kept.remove(dump)
                surplus -= dump.size
                alive[dump.key.pod_uid] += 1
    return kept


def _bytes(dumps: Sequence[listing.Stored]) -> int:
    return sum(dump.size for dump in dumps)
