"""The parts that asyncio leaves to its users: blocking calls, background tasks, growing waits.

Blocking calls run in daemon threads: an executor's threads are joined at exit, and one that hangs
in a dead NFS mount would keep the agent from stopping. Nothing that a thread does here needs a
clean end: commits are renames.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import threading
from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec, TypeVar

_P = ParamSpec("_P")
_T = TypeVar("_T")


async def call(function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
    """`function(…)` in a thread of its own; its result or exception."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[_T] = loop.create_future()

    def settle(result: _T | None, error: BaseException | None) -> None:
        if future.cancelled():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)  # type: ignore[arg-type]

    def run() -> None:
        result, error = None, None
        try:
            result = function(*args, **kwargs)
        except BaseException as raised:  # noqa: BLE001 (carried over to the awaiting task)
            error = raised
        with contextlib.suppress(RuntimeError):  # the loop closed: the agent did not wait for us
            loop.call_soon_threadsafe(settle, result, error)

    threading.Thread(target=run, name=getattr(function, "__name__", "call"), daemon=True).start()
    return await future


class Backoff:
    """Seconds to wait before the next try: doubling from `min_s` to `max_s`.

    `jitter` is the part of each wait, from 0 to 1, that chance may take away, so that many clients
    do not come back at the same moment.
    """

    def __init__(self, min_s: float, max_s: float, jitter: float = 0.5) -> None:
        self._min_s = min_s
        self._max_s = max_s
        self._jitter = jitter
        self._failures = 0

    def next(self) -> float:
        """How long to wait after one more failure, in seconds."""
        ceiling_s = min(self._max_s, self._min_s * 2 ** min(self._failures, 32))
        self._failures += 1
        chance = random.random()  # noqa: S311 (jitter, not a secret)
        return float(ceiling_s * (1 - chance * self._jitter))

    def reset(self) -> None:
        """A try succeeded: the next wait is `min_s` again."""
        self._failures = 0


class Background:
    """Named tasks that run beside their owner; it keeps their references until they end.

    asyncio keeps only weak references to tasks: one that nobody holds can vanish half-way.
    """

    def __init__(self, tasks_max: int | None = None) -> None:
        self._tasks_max = tasks_max
        self._tasks: set[asyncio.Task[Any]] = set()

    @property
    def full(self) -> bool:
        """Are `tasks_max` tasks running?"""
        return self._tasks_max is not None and len(self._tasks) >= self._tasks_max

    def start(self, name: str, job: Coroutine[Any, Any, object]) -> None:
        """Run `job` as a task called `name`. Call on the event loop."""
        task = asyncio.create_task(job, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
