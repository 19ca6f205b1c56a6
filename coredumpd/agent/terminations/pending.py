"""Ends of containers that wait for their verdict: their dump may still be on its way. Pure.

An end waits SETTLE_S for what the guard and the spool tell of it, and as long as its container's
core is being captured, at most `wait_s_max`. Each is judged once. Bounded. Times are seconds: those
named `now` of one monotonic clock, others since the epoch.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, MutableMapping

from coredumpd import cache
from coredumpd.agent.terminations import statuses

SETTLE_S = 5.0  # the guard's grace for a handler's line is 2 s; its status is read twice a second
WAITING_MAX = 1000
REMEMBERED_MAX = 10_000  # containers that were judged, and containers that have a dump
DUMP_BEFORE_S = 30.0  # a container may end so long after a dump of a process in it was complete
DUMP_AFTER_S = 5.0  # or seem to end before it: the kubelet's times are whole seconds


@dataclasses.dataclass
class _Waiting:
    termination: statuses.Termination
    due: float
    deadline: float
    was_capturing: bool = False


class Pending:
    """Ends since `since_s`: of one before, the dump may have been shipped by another shipper."""

    def __init__(self, since_s: float, wait_s_max: float) -> None:
        self._since_s = since_s
        self._wait_s_max = wait_s_max
        self._waiting: dict[tuple[str, str], _Waiting] = {}
        self._judged: MutableMapping[tuple[str, str], bool] = cache.recent(REMEMBERED_MAX)
        self._dumps: MutableMapping[str, tuple[float, float]] = cache.recent(REMEMBERED_MAX)

    def add(self, termination: statuses.Termination, now: float) -> bool:
        """Take an end, unless it is old or was taken before; False: there is no room for it."""
        key = (termination.pod_uid, termination.container_id)
        if termination.finished_s < self._since_s or key in self._waiting or key in self._judged:
            return True
        if len(self._waiting) >= WAITING_MAX:
            return False
        due = now + SETTLE_S
        self._waiting[key] = _Waiting(termination, due, due + self._wait_s_max)
        return True

    def dumped(self, container_id: str, begun_s: float, ended_s: float) -> None:
        """A dump of a process in this container is, or was, in the spool."""
        self._dumps[container_id] = (begun_s, ended_s)

    def next_due(self) -> float | None:
        """When `due` has something to do again; None: not before the next end."""
        return min((one.due for one in self._waiting.values()), default=None)

    def due(self, now: float, capturing: Collection[str] | None) -> list[statuses.Termination]:
        """Ends without a dump whose time has come; they are forgotten.

        `capturing`: ids of the containers whose cores are being captured, "" for one that is not
        known yet; None: the spool cannot be read, so that nothing is known.
        """
        without_dump = []
        for key, one in list(self._waiting.items()):
            if one.due > now:
                continue
            id = one.termination.container_id
            may_be = capturing is None or id in capturing or "" in capturing
            if may_be or one.was_capturing:
                if now < one.deadline:
                    one.was_capturing = may_be  # its dump is noted a moment after the capture
                    one.due = now + SETTLE_S
                    continue
                if capturing is None:
                    del self._waiting[key]  # nothing was seen: nothing is claimed
                    continue
            del self._waiting[key]
            self._judged[key] = True
            if not self._has_dump(one.termination):
                without_dump.append(one.termination)
        return without_dump

    def _has_dump(self, termination: statuses.Termination) -> bool:
        begun_s, ended_s = self._dumps.get(termination.container_id, (0.0, 0.0))
        finished_s = termination.finished_s
        return begun_s <= finished_s + DUMP_AFTER_S and ended_s >= finished_s - DUMP_BEFORE_S
