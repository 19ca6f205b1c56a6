from __future__ import annotations

import asyncio
import contextlib
import datetime
import ssl

import pytest
from tornado import web

from coredumpd.web import certs, listener, tls


class Hello(web.RequestHandler):
    async def get(self) -> None:
        self.write("x" * 1_000_000)


@pytest.fixture
def serving(tmp_path, monkeypatch):
    """Runs a scenario(port, client's TLS context) beside a listener of two connections."""
    monkeypatch.setattr(listener, "FIRST_REQUEST_S_MAX", 0.3)
    certificate, key = certs.self_signed(datetime.datetime.now(datetime.UTC))
    (tmp_path / "crt").write_bytes(certificate)
    (tmp_path / "key").write_bytes(key)
    client = ssl.create_default_context(cadata=certificate.decode())

    def run(scenario):
        async def main():
            context = tls.context(str(tmp_path / "crt"), str(tmp_path / "key"), "")
            server = listener.Listener(web.Application([("/", Hello)]), context, 2)
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
        assert server.connections == 0
        raw_writer.close()
        writer.close()

    serving(scenario)


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


def test_connections_above_the_bound_are_closed(serving):
    async def scenario(port, context, server):
        first, second = await opened(port, context), await opened(port, context)
        third, writer = await opened(port, None)
        assert await closed(third) == b""
        writer.close()
        first[1].write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await first[0].readline()).startswith(b"HTTP/1.1 200")
        first[1].close()
        second[1].close()

    serving(scenario)
