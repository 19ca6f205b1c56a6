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
