"""Does the other side send, or read, fast enough? Only the time for which we wait counts. Pure.

A slow store is no fault of the node that sends or of the client that reads, so the time in which we
are busy with bytes does not count.
"""

from __future__ import annotations

import time
from collections.abc import Callable


class Pace:
    """Of one upload, or of one download."""

    def __init__(
        self, bytes_per_s: int, window_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Too slow: fewer than `bytes_per_s` on average over `window_s` seconds of waiting."""
        self._rate = bytes_per_s
        self._window_s = window_s
        self._clock = clock
        self._since_s: float | None = None  # since when the server waits
        self._waited_s = 0.0
        self._received = 0
        self._was_slow = False

    def waits(self) -> None:
        """The server has no bytes left to write."""
        self._since_s = self._clock()

    def receives(self, count: int) -> None:
        """`count` bytes have come; the server is busy with them until `waits`."""
        self._pass_time()
        self._since_s = None
        self._received += count
        self._end_window()

    def is_too_slow(self) -> bool:
        """Was it too slow in a window that is over? Call it some times in each window."""
        self._pass_time()
        self._end_window()
        return self._was_slow

    def _pass_time(self) -> None:
        if self._since_s is not None:
            now_s = self._clock()
            self._waited_s += now_s - self._since_s
            self._since_s = now_s

    def _end_window(self) -> None:
        """Each window counts alone: bytes that came fast do not pay for a later stall."""
        if self._waited_s >= self._window_s:
            self._was_slow = self._was_slow or self._received < self._rate * self._waited_s
            self._waited_s, self._received = 0.0, 0
