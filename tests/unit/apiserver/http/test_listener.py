from __future__ import annotations

import asyncio
import contextlib
import datetime
import gc
import resource
import ssl
import weakref

import pytest
from tornado import web

from coredumpd.apiserver.auth import certificates
from coredumpd.apiserver.http import connections, listener, tls


class Hello(web.RequestHandler):
    async def get(self) -> None:
        self.write("x" * 1_000_000)


class Slow(web.RequestHandler):
    """Answers once it is told to; until then its connection is occupied."""

    begun: asyncio.Semaphore
    go: asyncio.Event
    connections: connections.Connections

    async def get(self) -> None:
        self.connections.occupy(self.request.connection.stream, lambda: None)
        self.begun.release()
        await self.go.wait()


@pytest.fixture
def serving(tmp_path):
    """Runs a scenario(port, client's TLS context) beside a listener of two connections a peer."""
    certificate, key = certificates.self_signed(datetime.datetime.now(datetime.UTC))
    (tmp_path / "crt").write_bytes(certificate)
    (tmp_path / "key").write_bytes(key)
    client = ssl.create_default_context(cadata=certificate.decode())

    def run(scenario, **timeouts):
        async def main():
            context = tls.context(str(tmp_path / "crt"), str(tmp_path / "key"), "")
            Slow.begun, Slow.go = asyncio.Semaphore(0), asyncio.Event()
            routes = web.Application([("/", Hello), ("/slow", Slow)])
            Slow.connections = connections.Connections(4)
            server = listener.Listener(
                routes,
                context,
                Slow.connections,
                listener.Timeouts(**{"first_request_s": 0.3} | timeouts),
            )
            server.listen(0, "127.0.0.1")
            (socket,) = server._sockets.values()
            try:
                await asyncio.wait_for(scenario(socket.getsockname()[1], client, server), 30)
            finally:
                server.stop()
                await server.close_all_connections()

        asyncio.run(main())

    return run


async def opened(port, context):
    return await asyncio.open_connection("127.0.0.1", port, ssl=context)


async def closed(reader) -> bytes:
    with contextlib.suppress(ConnectionError, ssl.SSLError):
        return await reader.read()
    return b""


def test_silence_is_closed_with_and_without_a_handshake(serving):
    async def scenario(port, context, server):
        raw, raw_writer = await opened(port, None)
        handshaken, writer = await opened(port, context)
        assert await closed(raw) == b""
        assert await closed(handshaken) == b""
        assert len(server.connections) == 0
        raw_writer.close()
        writer.close()

    serving(scenario)


def test_a_connection_that_is_over_is_not_kept_in_memory(serving):
    async def scenario(port, context, server):
        streams = weakref.WeakSet()
        handle = server.handle_stream

        def watched(stream, address):
            streams.add(stream)
            handle(stream, address)

        server.handle_stream = watched
        for number in range(20):
            reader, writer = await opened(port, context if number % 2 else None)
            writer.close()
            await closed(reader)
        while len(server.connections):
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.05)  # the last handshakes' tasks end
        gc.collect()
        assert len(streams) < 5

    serving(scenario, first_request_s=600)


def test_who_has_spoken_may_be_silent_afterwards(serving):
    async def scenario(port, context, server):
        reader, writer = await opened(port, context)
        for _ in range(2):
            writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200")
            assert len(await reader.readexactly(1_000_000)) == 1_000_000
            await asyncio.sleep(0.6)  # twice the patience with those who said nothing
        writer.close()

    serving(scenario)


async def asked(reader, writer) -> bytes:
    """The status line of one request, its answer read to the end."""
    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    head = await reader.readuntil(b"\r\n\r\n")
    await reader.readexactly(1_000_000)
    return head.partition(b"\r\n")[0]


def test_when_full_a_newcomer_takes_the_place_of_the_longest_silent(serving):
    async def scenario(port, context, server):
        first, second = await opened(port, context), await opened(port, context)
        third = await opened(port, context)
        assert await closed(first[0]) == b""
        for reader, writer in (second, third):
            assert await asked(reader, writer) == b"HTTP/1.1 200 OK"
        fourth = await opened(port, context)  # `second` idles for longer than `third`
        assert await closed(second[0]) == b""
        for reader, writer in (third, fourth):
            assert await asked(reader, writer) == b"HTTP/1.1 200 OK"
        assert len(server.connections) == 2
        for _, writer in (first, second, third, fourth):
            writer.close()

    serving(scenario)


def test_when_all_are_being_answered_a_newcomer_is_closed(serving):
    async def scenario(port, context, server):
        busy = [await opened(port, context) for _ in range(2)]
        for _, writer in busy:
            writer.write(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
        await asyncio.wait_for(Slow.begun.acquire(), 10)
        await asyncio.wait_for(Slow.begun.acquire(), 10)
        reader, writer = await opened(port, None)
        assert await closed(reader) == b""
        Slow.go.set()
        for reader, _ in busy:
            assert await reader.readline() == b"HTTP/1.1 200 OK\r\n"
        for _, each in (*busy, (None, writer)):
            each.close()

    serving(scenario)


def test_a_head_that_trickles_in_is_silence(serving):
    async def scenario(port, context, server):
        reader, writer = await opened(port, context)
        ended = asyncio.create_task(closed(reader))
        for byte in b"GET / HTTP/1.1\r\nHost: x\r\nX-Slow: " + b"x" * 1000:
            writer.write(bytes([byte]))
            if ended in (await asyncio.wait({ended}, timeout=0.02))[0]:
                break
        assert ended.result() == b""
        assert len(server.connections) == 0
        writer.close()

    serving(scenario)


def test_a_later_head_and_a_body_that_trickle_in_are_cut(serving):
    async def scenario(port, context, server):
        kept = await opened(port, context)
        await asked(*kept)
        kept[1].write(b"GET / HTTP/1.1\r\nX-Slow: ")
        body = await opened(port, context)
        body[1].write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nx")
        for reader, writer in (kept, body):
            assert await closed(reader) == b""
            writer.close()

    serving(scenario, idle_s=0.5, body_s=0.5)


@pytest.fixture
def limits(monkeypatch):
    """[soft, hard], and what they are set to."""
    now = [1024, 1024]
    monkeypatch.setattr(resource, "getrlimit", lambda _: tuple(now))
    monkeypatch.setattr(resource, "setrlimit", lambda _, wanted: now.__setitem__(slice(2), wanted))
    return now


@pytest.mark.parametrize(
    ("soft", "hard", "room", "soft_after"),
    [
        (1024, 1024, 384, 1024),
        (1024, 4096, 1920, 4096),
        (1024, 1_048_576, 4096, 8448),
        (1024, resource.RLIM_INFINITY, 4096, 8448),
        (resource.RLIM_INFINITY, resource.RLIM_INFINITY, 4096, resource.RLIM_INFINITY),
        (100_000, 100_000, 4096, 100_000),
        (64, 64, 1, 64),
    ],
)
def test_connections_fit_the_open_files(limits, soft, hard, room, soft_after):
    limits[:] = soft, hard
    assert listener.room_for(4096) == room
    assert limits == [soft_after, hard]
