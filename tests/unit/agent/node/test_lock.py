from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from coredumpd import errors
from coredumpd.agent.node import lock


def test_a_second_agent_is_refused_until_the_first_has_ended(tmp_path: Path) -> None:
    async def agents() -> None:
        path, stop = tmp_path / "lock", asyncio.Event()
        first = await lock.acquire(path, stop, tries=1)
        with first, pytest.raises(errors.Conflict, match="another agent holds"):
            await lock.acquire(path, stop, tries=1)
        with await lock.acquire(path, stop, tries=1):
            pass

    asyncio.run(agents())


def test_an_agent_that_is_stopped_waits_no_longer(tmp_path: Path) -> None:
    async def agents() -> None:
        path, stop = tmp_path / "lock", asyncio.Event()
        with await lock.acquire(path, stop, tries=1):
            asyncio.get_running_loop().call_later(0.1, stop.set)
            with pytest.raises(errors.Conflict):
                await asyncio.wait_for(lock.acquire(path, stop, tries=10_000), 60)

    asyncio.run(agents())


@pytest.mark.parametrize("plant", ["link", "fifo"])
def test_a_planted_link_or_fifo_is_no_lock(tmp_path: Path, plant: str) -> None:
    path, elsewhere = tmp_path / "lock", tmp_path / "elsewhere"
    path.symlink_to(elsewhere) if plant == "link" else os.mkfifo(path)
    with pytest.raises(errors.StorageError, match="cannot open"):
        asyncio.run(lock.acquire(path, asyncio.Event(), tries=1))
    assert not elsewhere.exists()
