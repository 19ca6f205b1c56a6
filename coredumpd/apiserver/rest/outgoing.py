"""Bytes on their way to clients: the lists and watches of all callers share a bounded room.

Whoever sends takes room before the bytes are made, and gives it back when the client's connection
has taken them. A caller gets more only while as much is free as it holds already ("dynamic
thresholds", see `machinery.shares`): one alone has at most half, and the others find room at once.
A client that reads slowly keeps its room as long as nobody waits for it; then it is cut. Belongs to
the event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import time
from collections.abc import AsyncIterator, Callable, Hashable

BYTES_MAX = 48 * 1024 * 1024
PATIENCE_S = 20.0
_PART = 4  # what one asks for at a time is at most this part of the whole


@dataclasses.dataclass(eq=False)
class _Room:
    holder: Hashable
    size: int
    cut: Callable[[], None]
    granted: asyncio.Event = dataclasses.field(default_factory=asyncio.Event)
    since_s: float = 0.0


class Outgoing:
    """`patience_s`: how long a room may be kept while others wait.

    `cuts` counts the connections that were cut since the start.
    """

    def __init__(self, bytes_max: int = BYTES_MAX, patience_s: float = PATIENCE_S) -> None:
        self._bytes_max = bytes_max
        self._patience_s = patience_s
        self._rooms: dict[_Room, None] = {}  # the oldest first
        self._waiting: dict[_Room, None] = {}
        self._held: dict[Hashable, int] = {}
        self.used = 0
        self.cuts = 0

    @contextlib.asynccontextmanager
    async def room(
        self, holder: Hashable, size: int, cut: Callable[[], None]
    ) -> AsyncIterator[None]:
        """Room for `size` bytes, once there is some. `cut` ends the connection that they go to."""
        room = _Room(holder, min(size, self._bytes_max // _PART), cut)
        if not self._grant(room):
            await self._wait(room)
        try:
            yield
        finally:
            self._give_back(room)

    def _fits(self, room: _Room) -> bool:
        free = self._bytes_max - self.used - room.size
        return self._held.get(room.holder, 0) <= free

    def _grant(self, room: _Room) -> bool:
        if not self._fits(room):
            return False
        room.since_s = time.monotonic()
        self._rooms[room] = None
        self.used += room.size
        self._held[room.holder] = self._held.get(room.holder, 0) + room.size
        room.granted.set()
        return True

    async def _wait(self, room: _Room) -> None:
        self._waiting[room] = None
        try:
            while not room.granted.is_set():
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(room.granted.wait(), self._patience_s / 4)
                self._cut_slow()
        except BaseException:
            if room.granted.is_set():
                self._give_back(room)
            raise
        finally:
            self._waiting.pop(room, None)

    def _cut_slow(self) -> None:
        """Cut the connections whose clients have not taken their bytes for too long."""
        if not self._waiting:
            return
        end_s = time.monotonic() - self._patience_s
        for room in [room for room in self._rooms if room.since_s < end_s]:
            self.cuts += 1
            room.since_s = float("inf")
            room.cut()

    def _give_back(self, room: _Room) -> None:
        del self._rooms[room]
        self.used -= room.size
        held = self._held[room.holder] - room.size
        if held:
            self._held[room.holder] = held
        else:
            del self._held[room.holder]
        for waiting in list(self._waiting):
            if self._grant(waiting):
                del self._waiting[waiting]
