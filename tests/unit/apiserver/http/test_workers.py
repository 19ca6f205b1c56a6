from __future__ import annotations

import asyncio
import threading

import pytest

from coredumpd import errors
from coredumpd.apiserver.http import workers


def test_one_caller_never_has_both_threads():
    async def scenario():
        pool = workers.Workers()
        gate, running = threading.Event(), []

        def work():
            running.append(1)
            gate.wait(30)

        greedy = [asyncio.create_task(pool.run("greedy", work)) for _ in range(20)]
        while not running:
            await asyncio.sleep(0.01)
        assert await asyncio.wait_for(pool.run("other", lambda: 7), 30) == 7
        assert len(running) == 1
        gate.set()
        await asyncio.gather(*greedy)
        assert len(running) == 20

    asyncio.run(scenario())


def test_the_turns_of_several_callers_alternate():
    async def scenario():
        pool = workers.Workers(threads=1)
        order = []
        tasks = [asyncio.create_task(pool.run(name, order.append, name)) for name in "aaaaab"]
        await asyncio.gather(*tasks)
        assert order.index("b") < 2

    asyncio.run(scenario())


def test_who_waits_too_long_is_told_to_try_again():
    async def scenario():
        pool = workers.Workers(wait_s_max=0.05)
        gate = threading.Event()
        first = asyncio.create_task(pool.run("a", gate.wait, 30))
        await asyncio.sleep(0)
        with pytest.raises(errors.TooManyRequests):
            await pool.run("a", print)
        gate.set()
        assert await first is True
        assert await pool.run("a", lambda: 1) == 1

    asyncio.run(scenario())


def test_an_error_is_raised_to_its_caller_and_the_thread_is_free_again():
    async def scenario():
        pool = workers.Workers(threads=1)
        for _ in range(3):
            with pytest.raises(ZeroDivisionError):
                await pool.run("a", lambda: 1 / 0)

    asyncio.run(scenario())
