"""Counters and Events of the guard, of which the shipper makes metrics and Events of Kubernetes.

The guard imports no metrics library: those bring TLS and an HTTP server with them.
"""

from __future__ import annotations

import dataclasses
from typing import Protocol


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


@dataclasses.dataclass
class Tally:
    """The guard's counters, named as in `metrics.Metrics`, and the one gauge."""

    corrections: Counter = dataclasses.field(default_factory=Counter)
    listener_failures: Counter = dataclasses.field(default_factory=Counter)
    skipped: Counter = dataclasses.field(default_factory=Counter)
    pattern_ours: bool = False

    def counters(self) -> dict[str, Counter]:
        """Every counter, by its name."""
        return {name: one for name, one in vars(self).items() if isinstance(one, Counter)}


COUNTERS = frozenset(Tally().counters())
