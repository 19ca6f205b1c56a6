"""A daemon's jobs: they run until a signal, and what breaks one of them ends them all.

Tested in: tests/integration/agent/test_ship.py
"""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any

Job = Callable[[], Coroutine[Any, Any, None]]
_log = logging.getLogger(__name__)


def stop_event() -> asyncio.Event:
    """An Event that SIGTERM and SIGINT set."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop


async def run(
    jobs: Mapping[str, Job], stop: asyncio.Event, leave: Callable[[], Awaitable[None]]
) -> None:
    """Run `jobs` until `stop`; then `leave`, beside them; then cancel them.

    Raises what broke a job.
    """
    tasks = [asyncio.create_task(job(), name=name) for name, job in jobs.items()]
    tasks.append(asyncio.create_task(_until(stop), name="stop"))
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()  # only `stop` returns
        _log.info("stopping")
        await leave()
    finally:
        for task in tasks:
            task.cancel()


async def together(*parts: Coroutine[Any, Any, None]) -> None:
    """Run all to their end. Raises what broke one of them; the others are cancelled then."""
    tasks = [asyncio.create_task(part) for part in parts]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        for task in tasks:
            if task.done():
                task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _until(event: asyncio.Event) -> None:
    await event.wait()
