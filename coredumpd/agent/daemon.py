"""`coredumpd agent run`: both halves in one process, for nodes without Kubernetes and for tests.

They meet in the same files as they do when each has a container of its own.

Tested in: tests/integration/agent/test_ship.py
"""

from __future__ import annotations

import asyncio

from coredumpd.agent import guard, jobs, ship
from coredumpd.settings import sections


async def run(
    settings: sections.Settings, guard_options: guard.Options, ship_options: ship.Options
) -> None:
    """Run until SIGTERM or SIGINT. Raises what prevents the start."""
    stop, ready = jobs.stop_event(), asyncio.Event()

    async def shipping() -> None:
        await ready.wait()
        await ship.run(settings, ship_options, stop)

    await jobs.together(guard.run(settings, guard_options, stop, ready), shipping())
