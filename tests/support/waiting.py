"""Poll a condition with a deadline, and say what is being waited for."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

_T = TypeVar("_T")


class Failed(Exception):
    """Something the test environment needs did not happen; `str()` says what."""


def until(what: str, condition: Callable[[], _T], deadline_s: float, every_s: float = 0.25) -> _T:
    """The first true value of `condition()`. Raises Failed naming `what` and its last answer.

    `condition` answers a false value while it is too early; an exception of its own is not caught.
    """
    end = time.monotonic() + deadline_s
    while True:
        answer = condition()
        if answer:
            return answer
        if time.monotonic() >= end:
            raise Failed(f"after {deadline_s:g} s still waiting for {what}: {answer!r}")
        time.sleep(every_s)
