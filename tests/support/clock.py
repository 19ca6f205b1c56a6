"""A clock that a test moves."""

from __future__ import annotations


class Clock:
    """A function that returns `now_s`, as `time.monotonic` does."""

    def __init__(self, now_s: float = 0.0) -> None:
        self.now_s = now_s

    def __call__(self) -> float:
        return self.now_s
