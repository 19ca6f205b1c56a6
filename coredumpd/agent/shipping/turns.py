"""Places for attempts to ship, which the namespaces that wait get in turn.

A namespace with thousands of waiting dumps delays another one's by a few attempts, not by all of
them. One whose cores cannot be sealed now is tried by one dump at a time, after growing pauses: the
answer is the same for all, and each attempt asks Kubernetes. Belongs to one event loop.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import time
from collections.abc import AsyncIterator

from coredumpd import aiokit


class Turns:
    """`places` attempts at a time."""

    def __init__(self, places: int, pause_s_min: float, pause_s_max: float) -> None:
        self._free = places
        self._queues: dict[str, collections.deque[asyncio.Future[None]]] = {}  # next one first
        self._pauses: dict[str, aiokit.Backoff] = {}
        self._until_s: dict[str, float] = {}  # on the monotonic clock
        self._pause_s = (pause_s_min, pause_s_max)

    def pause(self, namespace: str) -> None:
        """No dump of `namespace` can be sealed now: try none of it for a while."""
        backoff = self._pauses.setdefault(namespace, aiokit.Backoff(*self._pause_s))
        self._until_s[namespace] = time.monotonic() + backoff.next()

    def resume(self, namespace: str) -> None:
        """A dump of `namespace` was shipped: try the others at once."""
        self._pauses.pop(namespace, None)
        self._until_s.pop(namespace, None)

    @contextlib.asynccontextmanager
    async def turn(self, namespace: str) -> AsyncIterator[None]:
        """A place for one attempt, once `namespace` has no pause and it is its turn."""
        while True:
            while (pause_s := self._until_s.get(namespace, 0.0) - time.monotonic()) > 0:
                await asyncio.sleep(pause_s)
            await self._take(namespace)
            if self._until_s.get(namespace, 0.0) <= time.monotonic():
                break
            self._give()  # another attempt has found meanwhile that there is no use
        try:
            yield
        finally:
            self._give()

    async def _take(self, namespace: str) -> None:
        if self._free:
            self._free -= 1
            return
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queues.setdefault(namespace, collections.deque()).append(place)
        try:
            await place
        except asyncio.CancelledError:
            if not place.cancelled():  # it was given in the same moment
                self._give()
            raise

    def _give(self) -> None:
        """To the first one that waits of the namespace whose turn it is, which then is the last."""
        while self._queues:
            namespace = next(iter(self._queues))
            queue = self._queues.pop(namespace)
            place = queue.popleft()
            if queue:
                self._queues[namespace] = queue
            if not place.done():
                place.set_result(None)
                return
        self._free += 1
