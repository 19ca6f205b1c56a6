"""The HTTPS listener: connections, header bytes, body bytes and waiting times are bounded."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import logging
import resource
import socket
import ssl
from collections.abc import Awaitable, Callable
from typing import Any

from tornado import httpserver, httputil, iostream, web

from coredumpd.apiserver.http import connections, framing
from coredumpd.apiserver.machinery import bodies

CHUNK_BYTES = 64 * 1024
# Of a body that is sent in chunks. One byte in a chunk of its own takes as long as a KiB: a body
# of nothing else would keep the loop busy for half a minute.
CHUNKS_MAX = 1024
_DESCRIPTORS_PER_CONNECTION = 2  # its socket, and the core that it downloads
# Database, log, keys, sockets to Kubernetes, and newcomers before they are closed.
_DESCRIPTORS_OURS = 256
_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Timeouts:
    """How long a client may take, in seconds."""

    first_request_s: float = 10.0  # handshake and first request head; silence must not hold a place
    idle_s: float = 90.0  # as Go's http.Transport closes idle connections; also the handshake's
    body_s: float = 30.0
    send_s: float = 60.0  # to acknowledge a byte that was sent to it


class Listener(httpserver.HTTPServer):
    """An HTTPServer of bounded connections; `connections` says which one has to make room."""

    def initialize(  # type: ignore[override]
        self,
        application: web.Application,
        context: ssl.SSLContext,
        connections: connections.Connections,
        timeouts: Timeouts = Timeouts(),
    ) -> None:
        """Tornado's constructor."""
        self.connections = connections
        self._timeouts = timeouts
        # Those that have not sent a request head yet, and what closes them. A timer that is not
        # cancelled keeps its connection in memory, also after the end of that.
        self._silent: dict[iostream.IOStream, object] = {}
        self._full = False  # and that was logged
        # Heads and bodies may be a little longer than handlers take, so that these answer 431, 413.
        super().initialize(
            application,
            ssl_options=context,
            max_header_size=2 * bodies.HEADER_BYTES_MAX,
            idle_connection_timeout=timeouts.idle_s,
            body_timeout=timeouts.body_s,
            max_body_size=bodies.DROPPED_BYTES_MAX,
            max_buffer_size=bodies.DROPPED_BYTES_MAX,
            chunk_size=CHUNK_BYTES,
        )

    def use(self, context: ssl.SSLContext) -> None:
        """Serve new connections with `context`."""
        self.ssl_options = context

    def handle_stream(self, stream: iostream.IOStream, address: tuple[Any, ...]) -> None:
        """Admit a connection, in the place of another if necessary, or close it."""
        peer = connections.peer_of(address)
        if not self._make_room(peer):
            stream.close()
            return
        # tcp(7): the connection ends if the client acknowledges nothing, or its window is closed,
        # for this long. Each byte that a slow client takes starts the time anew.
        timeout_ms = int(self._timeouts.send_s * 1000)
        stream.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, timeout_ms)
        self.connections.add(stream, peer)
        self._silent[stream] = stream.io_loop.call_later(
            self._timeouts.first_request_s, stream.close
        )
        if isinstance(stream, iostream.SSLIOStream):
            stream.write_to_fd = functools.partial(write_records, stream)  # type: ignore[method-assign]
        super().handle_stream(stream, address)

    def start_request(
        self, server_conn: object, request_conn: httputil.HTTPConnection
    ) -> httputil.HTTPMessageDelegate:
        """Tornado's: a connection is about to be read from, after its last answer was sent."""
        delegate = super().start_request(server_conn, request_conn)
        stream = server_conn.stream  # type: ignore[attr-defined]
        self.connections.wait(stream)
        parse = request_conn._parse_headers  # type: ignore[attr-defined]
        request_conn._parse_headers = functools.partial(framing.parse_head, parse)  # type: ignore[attr-defined]
        # Tornado reads the size of each chunk with it, and nothing else.
        read_until = functools.partial(type(stream).read_until, stream)
        stream.read_until = bounded(read_until, CHUNKS_MAX)
        return _Request(delegate, request_conn, lambda: self._has_spoken(stream))

    def on_close(self, server_conn: object) -> None:
        """Tornado's: a connection is over."""
        super().on_close(server_conn)
        self._forget(server_conn.stream)  # type: ignore[attr-defined]

    def _make_room(self, peer: str) -> bool:
        """Is there room for one more of `peer`? Closes another connection if that makes room."""
        is_let_in, victim = self.connections.room(peer)
        if is_let_in and victim is None:
            self._full = False
            return True
        if not self._full:
            _log.warning(
                "%d connections are open, the limit is %d, half of it for one peer: no more are "
                "kept (peer %s)",
                len(self.connections),
                self.connections.most,
                peer,
            )
        self._full = True
        if victim is not None:
            self._forget(victim)
            victim.close()
        return is_let_in

    def _has_spoken(self, stream: iostream.IOStream) -> None:
        timer = self._silent.pop(stream, None)
        if timer is not None:
            stream.io_loop.remove_timeout(timer)

    def _forget(self, stream: iostream.IOStream) -> None:
        self.connections.remove(stream)
        self._has_spoken(stream)


class _Request(httputil.HTTPMessageDelegate):
    """Passes everything on; `head_complete` is called once the request's head has come.

    Tornado looks at the length of a body only after the handler has begun, and answers a wrong one
    by itself: so there were two answers. Here such a request is answered before there is a handler.
    """

    def __init__(
        self,
        delegate: httputil.HTTPMessageDelegate,
        connection: httputil.HTTPConnection,
        head_complete: Callable[[], None],
    ) -> None:
        self._connection = connection
        self._head_complete = head_complete
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
        self._head_complete()
        problem = framing.problem(headers)
        if problem is None:
            return self._delegate.headers_received(start_line, headers)
        self.data_received = _ignore  # type: ignore[assignment]
        self.finish = self.on_connection_close = _nothing  # type: ignore[method-assign]
        method = getattr(start_line, "method", "")
        framing.refuse(self._connection, method, headers, problem)
        return None


def _ignore(_: bytes) -> None:
    """Takes the bytes of a body that nobody reads."""


def _nothing() -> None:
    """Nobody is told."""


def bounded(
    read_until: Callable[..., Awaitable[bytes]], calls_max: int
) -> Callable[..., Awaitable[bytes]]:
    """`read_until` for so many calls; one more raises HTTPInputError, and Tornado answers 400."""
    calls = itertools.count(1)

    def read(delimiter: bytes, max_bytes: int | None = None) -> Awaitable[bytes]:
        if next(calls) > calls_max:
            raise httputil.HTTPInputError(f"the body has more than {calls_max} chunks")
        return read_until(delimiter, max_bytes)

    return read


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


def room_for(connections: int) -> int:
    """`connections`, or fewer if RLIMIT_NOFILE is low. Raises the soft limit as needed.

    Without this, accepting would fail for want of descriptors, for everybody and in a busy loop.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = _DESCRIPTORS_OURS + _DESCRIPTORS_PER_CONNECTION * connections
    if _is_less(soft, needed):
        soft = hard if _is_less(hard, needed) else needed
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if not _is_less(soft, needed):
        return connections
    room = max(1, (soft - _DESCRIPTORS_OURS) // _DESCRIPTORS_PER_CONNECTION)
    _log.warning("%d connections instead of %d: RLIMIT_NOFILE is %d", room, connections, soft)
    return room


def _is_less(limit: int, number: int) -> bool:
    return limit != resource.RLIM_INFINITY and limit < number
