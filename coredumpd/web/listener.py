"""The HTTPS listener: bounded in connections, header bytes, body bytes and patience."""

from __future__ import annotations

import functools
import logging
import ssl
from collections.abc import Awaitable, Callable
from typing import Any

from tornado import httpserver, httputil, iostream, web

from coredumpd.web import bodies

HEADER_BYTES_MAX = 64 * 1024  # kube-apiserver forwards tokens' extras; it allows 1 MiB itself
FIRST_REQUEST_S_MAX = 10.0  # handshake and first request head; silence must not hold a place
IDLE_S_MAX = 90.0  # Go's http.Transport closes idle connections at 90 s too; also the handshake's
BODY_S_MAX = 30.0
CHUNK_BYTES = 64 * 1024
_log = logging.getLogger(__name__)


class Listener(httpserver.HTTPServer):
    """An HTTPServer that closes connections above `connections_max` unanswered.

    `ssl_context` may be replaced at any time; it counts for the connections that come after.
    """

    def initialize(  # type: ignore[override]
        self, application: web.Application, context: ssl.SSLContext, connections_max: int
    ) -> None:
        """Tornado's constructor."""
        self._connections_max = connections_max
        self._streams: set[iostream.IOStream] = set()
        self._silent: set[object] = set()
        self._full = False  # said so already
        super().initialize(
            application,
            ssl_options=context,
            max_header_size=HEADER_BYTES_MAX,
            idle_connection_timeout=IDLE_S_MAX,
            body_timeout=BODY_S_MAX,
            # A little more than handlers take, so that they can answer a proper 413.
            max_body_size=2 * bodies.BODY_BYTES_MAX,
            max_buffer_size=2 * bodies.BODY_BYTES_MAX,
            chunk_size=CHUNK_BYTES,
        )

    @property
    def connections(self) -> int:
        """How many are open now."""
        return len(self._streams)

    def use(self, context: ssl.SSLContext) -> None:
        """Serve new connections with `context`."""
        self.ssl_options = context

    def handle_stream(self, stream: iostream.IOStream, address: tuple[Any, ...]) -> None:
        """Admit a connection, or close it."""
        if len(self._streams) >= self._connections_max:
            if not self._full:
                _log.warning("%d connections are open: more are closed", self._connections_max)
            self._full = True
            stream.close()
            return
        self._full = False
        self._streams.add(stream)
        self._silent.add(stream)
        stream.io_loop.call_later(FIRST_REQUEST_S_MAX, self._close_if_silent, stream)
        if isinstance(stream, iostream.SSLIOStream):
            stream.write_to_fd = functools.partial(write_records, stream)  # type: ignore[method-assign]
        super().handle_stream(stream, address)

    def start_request(
        self, server_conn: object, request_conn: httputil.HTTPConnection
    ) -> httputil.HTTPMessageDelegate:
        """Tornado's: a connection is about to be read from."""
        delegate = super().start_request(server_conn, request_conn)
        stream = server_conn.stream  # type: ignore[attr-defined]
        if stream not in self._silent:
            return delegate
        return _FirstRequest(delegate, lambda: self._silent.discard(stream))

    def _close_if_silent(self, stream: iostream.IOStream) -> None:
        if stream in self._silent:
            stream.close()

    def on_close(self, server_conn: object) -> None:
        """Tornado's: a connection is over."""
        super().on_close(server_conn)
        stream = server_conn.stream  # type: ignore[attr-defined]
        self._streams.discard(stream)
        self._silent.discard(stream)


class _FirstRequest(httputil.HTTPMessageDelegate):
    """Passes everything on; `heard` is called once the request's head is complete."""

    def __init__(self, delegate: httputil.HTTPMessageDelegate, heard: Callable[[], None]) -> None:
        self._heard = heard
        self._delegate = delegate
        self.data_received = delegate.data_received  # type: ignore[method-assign]
        self.finish = delegate.finish  # type: ignore[method-assign]
        self.on_connection_close = delegate.on_connection_close  # type: ignore[method-assign]

    def headers_received(
        self,
        start_line: httputil.RequestStartLine | httputil.ResponseStartLine,
        headers: httputil.HTTPHeaders,
    ) -> Awaitable[None] | None:
        """Tornado's."""
        self._heard()
        return self._delegate.headers_received(start_line, headers)


def write_records(stream: iostream.SSLIOStream, data: memoryview) -> int:
    """Write as many TLS records as the socket takes; how many bytes of `data` they carried.

    Python's ssl sends one record of 16 KiB a call, after which Tornado's own loop costs more than
    the encryption. Downloads took 2.1 CPU seconds per GiB that way.
    """
    sent, size = 0, len(data)
    try:
        while sent < size:
            sent += stream.socket.send(data[sent:])
    except (ssl.SSLWantWriteError, BlockingIOError):
        return sent  # 0 too: Tornado then waits until the socket is writable
    finally:
        data.release()
    return sent
