"""Blocking calls off the loop, in daemon threads.

An executor's threads are joined at exit; one that hangs in a dead NFS mount would keep the agent
from stopping. Nothing a thread does here needs a clean end: commits are renames.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import ParamSpec, TypeVar

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
