from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from coredumpd import errors
from coredumpd.agent.node import lock


def test_a_second_agent_is_refused_until_the_first_has_ended(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()

    async def agents() -> None:
        first = await lock.acquire(tmp_path, tries=1)
        with first, pytest.raises(errors.Conflict, match="another agent owns"):
            await lock.acquire(tmp_path, tries=1)
        with await lock.acquire(tmp_path, tries=1):
            pass

    asyncio.run(agents())
