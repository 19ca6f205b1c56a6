"""How many bytes of earlier states each namespace has left in the history: a share each. Pure.

Every write leaves a state that watches and `continue` tokens may still need for 5 to 10 minutes. If
one tenant could write without end, the history would have to be dropped early, and everybody's
lists and watches would end with 410. Belongs to the event loop.
"""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Callable, Iterator

from coredumpd import errors

INTERVAL_S = 300.0  # that of `objects.compaction`
RETRY_AFTER_S = 10


class Churn:
    """Counts the bytes that were written in this interval and in the last one."""

    def __init__(
        self,
        bytes_max: int,
        interval_s: float = INTERVAL_S,
        clock: Callable[[], float] | None = None,
    ) -> None:
        self._bytes_max = bytes_max
        self._interval_s = interval_s
        self._clock = clock or time.monotonic
        self._end_s = self._clock() + interval_s
        self._recent: Counter[str] = Counter()
        self._before: Counter[str] = Counter()
        self._in_flight: Counter[str] = Counter()

    def wrote(self, namespace: str, size: int) -> None:
        """A write of `size` bytes has come as an event."""
        self._rotate()
        self._recent[namespace] += size

    @contextlib.contextmanager
    def hold(self, namespace: str, size: int) -> Iterator[None]:
        """Count `size` while a write is made. Raises TooManyRequests.

        A namespace writes no more than it leaves free, so one alone has half of the history.
        """
        self._rotate()
        own = sum(counter[namespace] for counter in self._counters())
        everybody = sum(counter.total() for counter in self._counters())
        most = (self._bytes_max - (everybody - own) + 1) // 2
        if own + size > most:
            error = errors.TooManyRequests(
                f"{own} bytes of objects have been written in namespace {namespace} within some "
                f"minutes; at most {max(0, most)} are kept for watches (objectLimits.historySize), "
                "please try again later"
            )
            error.retry_after_s = RETRY_AFTER_S
            raise error
        self._in_flight[namespace] += size
        try:
            yield
        finally:
            self._in_flight[namespace] -= size
            if not self._in_flight[namespace]:
                del self._in_flight[namespace]

    def _counters(self) -> tuple[Counter[str], ...]:
        return self._recent, self._before, self._in_flight

    def _rotate(self) -> None:
        now_s = self._clock()
        if now_s < self._end_s:
            return
        is_next = now_s < self._end_s + self._interval_s
        self._before = self._recent if is_next else Counter()
        self._recent = Counter()
        self._end_s = now_s + self._interval_s
