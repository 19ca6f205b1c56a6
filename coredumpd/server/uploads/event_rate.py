"""How many Events the server writes for one node. Pure.

A node may have so many at once, and then as many in a minute; a pod has a quarter of its node's, so
that the crashes of one pod do not keep its neighbours' Events back.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, MutableMapping

from coredumpd import cache, errors

_SHARES = 4
_HOLDERS_MAX = 20_000  # nodes, and pods of theirs, of which something is remembered
_MINUTE_S = 60.0


class Rate:
    """`per_minute` for each node. Belongs to one event loop."""

    def __init__(self, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_minute = per_minute
        self._clock = clock
        # By node, and by node and pod: how many are left, and when that was so.
        self._left: MutableMapping[tuple[str, str], tuple[float, float]]
        self._left = cache.recent(_HOLDERS_MAX)

    def take_node(self, node: str) -> None:
        """One Event for `node`. Raises TooManyRequests."""
        self._take(node, "", self._per_minute)

    def take_pod(self, node: str, pod_uid: str) -> None:
        """One Event for a pod of `node`. Raises TooManyRequests."""
        self._take(node, pod_uid, max(1, self._per_minute // _SHARES))

    def _take(self, node: str, pod_uid: str, per_minute: int) -> None:
        now_s = self._clock()
        left, since_s = self._left.get((node, pod_uid), (float(per_minute), now_s))
        left = min(per_minute, left + (now_s - since_s) * per_minute / _MINUTE_S)
        if left < 1:
            self._left[node, pod_uid] = left, now_s
            whose = f"pod {pod_uid}" if pod_uid else f"node {node!r}"
            error = errors.TooManyRequests(f"{whose} has had its {per_minute} Events of a minute")
            error.retry_after_s = math.ceil((1 - left) * _MINUTE_S / per_minute)
            raise error
        self._left[node, pod_uid] = left - 1, now_s
