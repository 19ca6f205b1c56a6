"""How many dumps are received at a time, and how many of them from one node.

A node has at most a quarter of the places, and the last free place goes to no node that has one
already. So no node, however many dumps it sends and however slowly, keeps the others out. Pure.
"""

from __future__ import annotations

import collections

from coredumpd import errors

_SHARES = 4
RETRY_AFTER_S = 5


class Places:
    """`total` places. Belongs to one event loop."""

    def __init__(self, total: int) -> None:
        self._total = total
        self.share = max(1, total // _SHARES)
        self._taken: collections.Counter[str] = collections.Counter()

    @property
    def taken(self) -> int:
        """Places in use."""
        return self._taken.total()

    def take(self, node: str) -> None:
        """One place for `node`. Raises TooManyRequests, Unavailable when there is none at all."""
        own, free = self._taken[node], self._total - self.taken
        error: errors.CoredumpdError
        if free <= 0:
            error = errors.NotReady(f"{self._total} dumps are being received already")
        elif own >= self.share or (own and free == 1):
            rule = f"a node may send {self.share} of {self._total}, and never takes the last place"
            error = errors.TooManyRequests(f"node {node!r} sends {own} dumps already: {rule}")
        else:
            self._taken[node] += 1
            return
        error.retry_after_s = RETRY_AFTER_S
        raise error

    def leave(self, node: str) -> None:
        """Give one place of `node` back."""
        self._taken[node] -= 1
        if not self._taken[node]:
            del self._taken[node]
