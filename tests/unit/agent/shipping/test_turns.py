from __future__ import annotations

import asyncio
import time

from coredumpd.agent.shipping import turns


def test_namespaces_take_turns_however_many_dumps_one_has_waiting() -> None:
    async def scene() -> list[str]:
        order: list[str] = []
        shared = turns.Turns(2, 60, 60)

        async def attempt(namespace: str) -> None:
            async with shared.turn(namespace):
                order.append(namespace)
                await asyncio.sleep(0)

        await asyncio.gather(*(attempt(name) for name in ["greedy"] * 100 + ["other"] * 3))
        return order

    order = asyncio.run(scene())
    assert len(order) == 103
    assert [place for place, name in enumerate(order) if name == "other"][-1] < 10


def test_of_a_namespace_that_cannot_be_sealed_one_dump_is_tried_after_each_pause() -> None:
    async def scene() -> int:
        tries = 0
        shared = turns.Turns(1, 0.1, 0.1)

        async def fail() -> None:
            nonlocal tries
            while True:
                async with shared.turn("greedy"):
                    tries += 1
                    shared.pause("greedy")

        tasks = [asyncio.create_task(fail()) for _ in range(200)]
        began_s = time.monotonic()
        async with shared.turn("other"):
            pass
        await asyncio.sleep(0.5)
        spent_s = time.monotonic() - began_s
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert tries <= 2 + spent_s / 0.05  # a pause is 0.05 s at least, with its jitter
        async with asyncio.timeout(5), shared.turn("other"):  # the place was given back
            return tries

    assert asyncio.run(scene()) > 1


def test_what_is_shipped_ends_the_pause_of_its_namespace() -> None:
    async def scene() -> None:
        shared = turns.Turns(1, 600, 600)
        shared.pause("team-a")
        shared.resume("team-a")
        async with asyncio.timeout(5), shared.turn("team-a"):
            pass

    asyncio.run(scene())


def test_a_place_that_nobody_takes_any_more_goes_to_the_next() -> None:
    async def scene() -> None:
        shared = turns.Turns(1, 1, 1)
        async with shared.turn("a"):
            waiting = [asyncio.create_task(enter(shared, name)) for name in "bcb"]
            await asyncio.sleep(0)
            waiting[0].cancel()
            await asyncio.sleep(0)
            waiting[1].cancel()
        await asyncio.wait_for(waiting[2], 5)
        await asyncio.wait_for(enter(shared, "d"), 5)

    asyncio.run(scene())


async def enter(shared: turns.Turns, namespace: str) -> None:
    async with shared.turn(namespace):
        pass
