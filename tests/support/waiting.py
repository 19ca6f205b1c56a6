"""Poll a condition with a deadline, and say what is being waited for."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from coredumpd import errors

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


def answered(call: Callable[..., _T], *arguments: object, deadline_s: float = 20) -> _T:
    """The result of a call that is repeated while it raises Unavailable: nothing answers yet."""

    def attempt() -> tuple[_T] | None:
        try:
            return (call(*arguments),)
        except errors.Unavailable:
            return None

    result = until(f"{call.__name__} to be answered", attempt, deadline_s, 0.1)
    assert result is not None
    return result[0]
