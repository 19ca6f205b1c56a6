"""Threads for what computes too long for the event loop: bodies parsed, patches applied.

Python runs one thread at a time, so two are enough. No caller gets both: whoever sends patch after
patch waits for the end of one before the next begins, and the other thread is for all others.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections.abc import Callable, Hashable
from concurrent import futures
from typing import TypeVar, TypeVarTuple

from coredumpd import errors

THREADS = 2
WAIT_S_MAX = 10.0
_T = TypeVar("_T")
_A = TypeVarTuple("_A")


@dataclasses.dataclass
class _Turn:
    """Of one holder: `waiting` counts the call that runs, too."""

    lock: asyncio.Lock = dataclasses.field(default_factory=asyncio.Lock)
    waiting: int = 0


class Workers:
    """Runs calls in threads. Belongs to one event loop; calls must end by themselves."""

    def __init__(self, threads: int = THREADS, wait_s_max: float = WAIT_S_MAX) -> None:
        self._pool = futures.ThreadPoolExecutor(threads, "worker")
        self._places = asyncio.Semaphore(threads)
        self._wait_s_max = wait_s_max
        self._turns: dict[Hashable, _Turn] = {}

    async def run(self, holder: Hashable, call: Callable[[*_A], _T], *arguments: *_A) -> _T:
        """`call(*arguments)`, one at a time for each `holder`.

        Raises TooManyRequests when its turn does not come within `wait_s_max` seconds.
        """
        turn = self._turns.setdefault(holder, _Turn())
        turn.waiting += 1
        try:
            async with contextlib.AsyncExitStack() as held:
                await self._wait(turn, held)
                loop = asyncio.get_running_loop()
                return await loop.run_in_executor(self._pool, call, *arguments)
        finally:
            turn.waiting -= 1
            if not turn.waiting:
                del self._turns[holder]

    async def _wait(self, turn: _Turn, held: contextlib.AsyncExitStack) -> None:
        try:
            async with asyncio.timeout(self._wait_s_max):
                await held.enter_async_context(turn.lock)
                await held.enter_async_context(self._places)
        except TimeoutError as error:
            raise errors.TooManyRequests(
                "too many of your requests are being computed; try again later"
            ) from error
