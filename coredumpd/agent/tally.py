"""Counters and Events of the guard, of which the shipper makes metrics and Events of Kubernetes.

The guard imports no metrics library: those bring TLS and an HTTP server with them.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from typing import Protocol

from coredumpd.formats import guard_status


class NodeEvents(Protocol):
    """Writes Events about this node. Must not raise, nor wait for a network."""

    async def node(self, reason: str, message: str) -> None: ...


class Counter:
    """A number by label value; the label is "" where there is none."""

    def __init__(self) -> None:
        self.values: dict[str, int] = {}

    def inc(self, count: int = 1, label: str = "") -> None:
        """Add `count`."""
        self.values[label] = self.values.get(label, 0) + count


class Losses:
    """The latest loss of each container; of too many, the oldest is forgotten."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._losses: dict[str, guard_status.Loss] = {}

    def add(self, container: str, reason: str, problem: str = "") -> None:
        """A crash in the container with this id left no dump, just now."""
        self._losses.pop(container, None)
        text = problem[: guard_status.PROBLEM_CHARS_MAX]
        self._losses[container] = guard_status.Loss(container, reason, text, int(self._clock()))
        while len(self._losses) > guard_status.LOSSES_MAX:
            del self._losses[next(iter(self._losses))]

    def latest(self) -> tuple[guard_status.Loss, ...]:
        """The oldest first."""
        return tuple(self._losses.values())


@dataclasses.dataclass
class Tally:
    """The guard's counters, named as in `metrics.Metrics`, its latest losses, and two states."""

    corrections: Counter = dataclasses.field(default_factory=Counter)
    listener_failures: Counter = dataclasses.field(default_factory=Counter)
    skipped: Counter = dataclasses.field(default_factory=Counter)
    self_tests: Counter = dataclasses.field(default_factory=Counter)
    losses: Losses = dataclasses.field(default_factory=Losses)
    pattern_ours: bool = False
    self_test: str = ""  # the last one's cause; "" before the first

    def counters(self) -> dict[str, Counter]:
        """Every counter, by its name."""
        return {name: one for name, one in vars(self).items() if isinstance(one, Counter)}


COUNTERS = frozenset(Tally().counters())
