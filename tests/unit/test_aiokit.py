from __future__ import annotations

import asyncio
import threading

import pytest

from coredumpd import aiokit, errors


def test_a_result_and_an_exception_come_back() -> None:
    def fail() -> None:
        raise errors.StorageError("no")

    assert asyncio.run(aiokit.call(divmod, 7, 2)) == (3, 1)
    with pytest.raises(errors.StorageError, match="no"):
        asyncio.run(aiokit.call(fail))


def test_a_call_that_hangs_keeps_neither_the_loop_nor_the_process() -> None:
    release, ended = threading.Event(), threading.Event()

    def hang() -> None:
        release.wait(30)
        ended.set()

    async def give_up() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await aiokit.call(hang)

    asyncio.run(give_up())
    assert not ended.is_set()
    assert all(one.daemon for one in threading.enumerate() if one.name == "hang")
    release.set()
    assert ended.wait(30)


def test_a_wait_doubles_up_to_its_limit_and_starts_again_after_a_success() -> None:
    backoff = aiokit.Backoff(1.0, 5.0, jitter=0.0)
    assert [backoff.next() for _ in range(4)] == [1.0, 2.0, 4.0, 5.0]
    backoff.reset()
    assert backoff.next() == 1.0


def test_chance_takes_away_no_more_than_the_jitter() -> None:
    backoff = aiokit.Backoff(8.0, 8.0, jitter=0.25)
    assert all(6.0 <= backoff.next() <= 8.0 for _ in range(100))


def test_background_tasks_are_bounded_and_forgotten_when_they_end() -> None:
    async def scenario() -> None:
        tasks = aiokit.Background(1)
        gate = asyncio.Event()
        tasks.start("wait", gate.wait())
        assert tasks.full
        gate.set()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert not tasks.full

    asyncio.run(scenario())
