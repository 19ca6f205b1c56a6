from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine

import pytest

from coredumpd.apiserver.rest import outgoing

MANY = 100


@contextlib.asynccontextmanager
async def holding(
    room: outgoing.Outgoing, holder: str, sizes: list[int], cut: Callable[[], None] = lambda: None
) -> AsyncIterator[list[int]]:
    """As many rooms of `sizes` as `holder` gets at once; yields the sizes that it got."""
    granted: list[int] = []
    async with contextlib.AsyncExitStack() as stack:
        for size in sizes:
            try:
                async with asyncio.timeout(0.02):
                    await stack.enter_async_context(room.room(holder, size, cut))
            except TimeoutError:
                break
            granted.append(size)
        yield granted


def run(scenario: Coroutine[None, None, None]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(20):
            await scenario

    asyncio.run(bounded())


def test_one_caller_gets_half_at_most_and_another_finds_room_at_once() -> None:
    async def scenario() -> None:
        room = outgoing.Outgoing(1000, patience_s=60)
        async with holding(room, "greedy", [10] * MANY) as first:
            assert 400 <= sum(first) <= 500
            async with holding(room, "other", [10] * MANY) as second:
                assert sum(second) >= 200
                async with holding(room, "third", [10] * MANY) as third:
                    assert sum(third) >= 100
                    assert room.used <= 1000
        assert room.used == 0

    run(scenario())


def test_who_waits_gets_the_room_that_is_given_back() -> None:
    async def scenario() -> None:
        room = outgoing.Outgoing(100, patience_s=60)
        async with room.room("a", 25, print), room.room("a", 25, print):
            waiting = asyncio.create_task(_pass(room, "a", 25))
            await asyncio.sleep(0.02)
            assert not waiting.done()
        await waiting
        assert room.used == 0

    run(scenario())


def test_a_slow_client_is_cut_only_when_others_wait() -> None:
    async def scenario() -> None:
        room = outgoing.Outgoing(100, patience_s=0.05)
        over = asyncio.Event()

        async def slow() -> None:
            async with room.room("a", 25, over.set), room.room("a", 25, over.set):
                await over.wait()

        task = asyncio.create_task(slow())
        await asyncio.sleep(0.2)
        assert not over.is_set()
        await _pass(room, "a", 25)
        assert over.is_set()
        assert room.cuts == 2
        await task
        assert room.used == 0

    run(scenario())


def test_more_than_there_is_at_all_is_granted_as_the_largest_part() -> None:
    async def scenario() -> None:
        room = outgoing.Outgoing(100, patience_s=60)
        async with room.room("a", 10**9, print):
            assert room.used == 25

    run(scenario())


@pytest.mark.parametrize("after_grant", [False, True])
def test_who_leaves_while_waiting_takes_no_room_along(after_grant: bool) -> None:
    async def scenario() -> None:
        room = outgoing.Outgoing(100, patience_s=60)
        async with room.room("a", 25, print), room.room("a", 25, print):
            waiting = asyncio.create_task(_pass(room, "a", 25))
            await asyncio.sleep(0.02)
            if not after_grant:
                waiting.cancel()
        if after_grant:
            waiting.cancel()  # it was granted, and has not run since
        await asyncio.gather(waiting, return_exceptions=True)
        assert room.used == 0
        await _pass(room, "b", 25)

    run(scenario())


async def _pass(room: outgoing.Outgoing, holder: str, size: int) -> None:
    async with room.room(holder, size, print):
        pass
