from __future__ import annotations

import asyncio
import contextlib
import gc
import weakref
from typing import Any

import pytest
import tornado.web
from tornado import iostream

from coredumpd.agent import face


@pytest.mark.parametrize(
    ("addresses", "victim"),
    [
        (["a"], 0),
        (["a", "b", "b"], 1),  # the newest of b is the one too many; the oldest of b goes
        (["kubelet", "flood", "flood", "flood"], 1),
        (["flood", "flood", "flood", "kubelet"], 0),
        (["a", "b", "c"], 0),  # all alike: the oldest
        (["a", "a", "b", "b"], 0),
    ],
)
def test_who_holds_most_loses_the_oldest(addresses: list[str], victim: int) -> None:
    assert face.surplus(list(enumerate(addresses))) == victim


class Quick(tornado.web.RequestHandler):
    def get(self) -> None:
        self.finish("ok")


async def ask(port: int, data: bytes, source: str = "127.0.0.1") -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(source, 0))
    with contextlib.closing(writer), contextlib.suppress(ConnectionError):
        writer.write(data)
        await writer.drain()
        return await asyncio.wait_for(reader.read(), 20)
    return b""


GET = b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"


async def serve() -> tuple[face.Face, int]:
    return face.listen("agent.port", 0, tornado.web.Application([("/", Quick)]))


@pytest.mark.parametrize(
    "request_",
    [
        b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 104857600\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 4097\r\n\r\n" + b"x" * 4097,
        b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nffffff\r\n",
        b"GET / HTTP/1.1\r\nHost: h\r\nX: " + b"x" * 20_000 + b"\r\n\r\n",
        b"x" * 200_000,
    ],
    ids=["declared", "real", "chunked", "head", "no HTTP"],
)
def test_what_is_too_long_is_refused_before_it_is_read(request_: bytes) -> None:
    async def scene() -> tuple[bytes, bytes]:
        server, port = await serve()
        try:
            return await ask(port, request_), await ask(port, GET)
        finally:
            server.stop()

    refused, answered = asyncio.run(scene())
    assert not refused.startswith(b"HTTP/1.1 200")
    assert answered.startswith(b"HTTP/1.1 200")


def test_a_full_face_answers_who_has_no_part_in_the_flood() -> None:
    async def scene() -> tuple[int, bytes]:
        server, port = await serve()
        flood = [
            await asyncio.open_connection("127.0.0.1", port, local_addr=("127.0.0.2", 0))
            for _ in range(3 * face.CONNECTIONS_MAX)
        ]
        try:
            answer = await ask(port, GET)
            return server.connections, answer
        finally:
            for _, writer in flood:
                writer.close()
            await server.close_all_connections()
            server.stop()

    connections, answer = asyncio.run(scene())
    assert answer.startswith(b"HTTP/1.1 200")
    assert connections <= face.CONNECTIONS_MAX


def test_a_connection_that_is_over_is_not_kept_in_memory() -> None:
    async def scene() -> int:
        server, port = await serve()
        streams: weakref.WeakSet[iostream.IOStream] = weakref.WeakSet()
        handle = server.handle_stream

        def watched(stream: iostream.IOStream, address: tuple[Any, ...]) -> None:
            streams.add(stream)
            handle(stream, address)

        server.handle_stream = watched  # type: ignore[method-assign]
        for _ in range(20):
            assert (await ask(port, GET)).startswith(b"HTTP/1.1 200")
        async with asyncio.timeout(20):
            while server.connections:
                await asyncio.sleep(0.01)
        server.stop()
        await asyncio.sleep(0)
        gc.collect()
        return len(streams)

    assert asyncio.run(scene()) < 5


@pytest.mark.parametrize(
    "sent", [b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\n"]
)
def test_silence_ends_a_connection(sent: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("IDLE_S", "BODY_S"):
        monkeypatch.setattr(face, name, 0.2)

    async def scene() -> None:
        server, port = await serve()
        try:
            assert not (await ask(port, sent)).startswith(b"HTTP/1.1 200")
        finally:
            server.stop()

    asyncio.run(scene())


def test_a_connection_does_not_live_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(face, "LIFE_S", 0.3)
    forever = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"

    async def scene() -> None:
        server, port = await serve()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            async with asyncio.timeout(20):
                with contextlib.suppress(ConnectionError):
                    while True:
                        writer.write(forever)
                        if not await reader.read(1000):
                            break
                        await asyncio.sleep(0.02)
        finally:
            writer.close()
            server.stop()

    asyncio.run(scene())
