"""Does an upload come fast enough? Counts only the time for which the server waits for bytes. Pure.

A slow store is no fault of the node that sends, so the time in which received bytes are written
does not count.
"""

from __future__ import annotations

import time
from collections.abc import Callable


class Pace:
    """Of one upload."""

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
        self._waited_s += self._waiting_s()
        self._since_s = None
        self._received += count
        if self._waited_s >= self._window_s:
            self._was_slow = self._was_slow or self._is_slow(self._waited_s)
            self._waited_s, self._received = 0.0, 0

    def is_too_slow(self) -> bool:
        """Was it too slow in a window that is over, or in the present one?"""
        return self._was_slow or self._is_slow(self._waited_s + self._waiting_s())

    def _waiting_s(self) -> float:
        return 0.0 if self._since_s is None else self._clock() - self._since_s

    def _is_slow(self, waited_s: float) -> bool:
        return waited_s >= self._window_s and self._received < self._rate * waited_s
