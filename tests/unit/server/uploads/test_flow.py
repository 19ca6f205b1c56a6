from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from coredumpd.server.uploads import flow


def on_a_loop(test: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    @functools.wraps(test)
    def run() -> None:
        asyncio.run(test())

    return run


def read_all(body: flow.Flow) -> bytes:
    pieces = []
    while piece := body.read(3):
        pieces.append(piece)
    return b"".join(pieces)


@on_a_loop
async def test_a_thread_reads_every_byte_that_the_loop_puts_in():
    body = flow.Flow(asyncio.get_running_loop())
    reading = asyncio.create_task(asyncio.to_thread(read_all, body))
    for piece in (b"one", b"", b"twothree", b"4" * 10):
        await body.put(piece)
    await body.end()
    assert await reading == b"onetwothree" + b"4" * 10
    assert body.read(1) == b""


@on_a_loop
async def test_a_body_that_is_cut_is_an_error_for_its_reader():
    body = flow.Flow(asyncio.get_running_loop())
    await body.put(b"half")
    reading = asyncio.create_task(asyncio.to_thread(read_all, body))
    await asyncio.sleep(0)
    body.cut()
    with pytest.raises(OSError, match="disconnected"):
        await reading


@on_a_loop
async def test_a_body_that_was_cut_while_its_reader_was_behind_is_an_error_too():
    body = flow.Flow(asyncio.get_running_loop())
    for _ in range(4):
        await body.put(b"piece")
    body.cut()
    with pytest.raises(OSError, match="disconnected"):
        await asyncio.to_thread(read_all, body)


@on_a_loop
async def test_a_slow_reader_holds_the_loop_up():
    body = flow.Flow(asyncio.get_running_loop())
    for _ in range(4):
        await body.put(b"piece")
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(body.put(b"one more"), 0.05)


@on_a_loop
async def test_a_body_cannot_be_read_twice():
    body = flow.Flow(asyncio.get_running_loop())
    assert body.tell() == 0
    with pytest.raises(OSError, match="twice"):
        body.seek(0)


@on_a_loop
async def test_a_silent_agent_is_given_up():
    body = flow.Flow(asyncio.get_running_loop(), read_timeout_s=0.05)
    with pytest.raises(OSError, match="disconnected"):
        await asyncio.to_thread(body.read, 1)
