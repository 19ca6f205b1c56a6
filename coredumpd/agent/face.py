"""A small HTTP face: GETs without a body, for a monitor and for the kubelet.

Everything that a client could take without end has a bound: connections, header bytes, body bytes,
and the time for each of them. A full face closes the oldest connection of the address that holds
most, so one client's flood costs that client its own connections, and a probe gets in.
"""

from __future__ import annotations

import collections
import socket
from collections.abc import Sequence
from typing import Any

from tornado import httpserver, iostream, netutil, web

from coredumpd import errors

CONNECTIONS_MAX = 64  # far below RLIMIT_NOFILE, which is 1024 in many containers
HEADER_BYTES_MAX = 16 * 1024
BODY_BYTES_MAX = 4 * 1024  # nothing here takes one
BUFFER_BYTES_MAX = 64 * 1024
IDLE_S = 10.0  # for a whole request head, and between two requests
BODY_S = 5.0
SEND_S = 10.0  # to acknowledge a byte that was sent to it
LIFE_S = 120.0  # of a connection; a monitor makes a new one


class Face(httpserver.HTTPServer):
    """An HTTPServer of `application`, with bounds."""

    def initialize(  # type: ignore[override]
        self, application: web.Application, connections_max: int = CONNECTIONS_MAX
    ) -> None:
        """Tornado's constructor."""
        self._connections_max = connections_max
        self._streams: dict[iostream.IOStream, str] = {}  # by age, with the client's address
        # A timer that is not cancelled keeps its connection in memory, also after the end of that.
        self._ends: dict[iostream.IOStream, object] = {}
        super().initialize(
            application,
            max_header_size=HEADER_BYTES_MAX,
            max_body_size=BODY_BYTES_MAX,
            max_buffer_size=BUFFER_BYTES_MAX,
            chunk_size=BODY_BYTES_MAX,
            idle_connection_timeout=IDLE_S,
            body_timeout=BODY_S,
        )

    @property
    def connections(self) -> int:
        """The number of open connections."""
        return len(self._streams)

    def handle_stream(self, stream: iostream.IOStream, address: tuple[Any, ...]) -> None:
        """Admit a connection; the one that has to go, if the face is full, is closed."""
        self._streams[stream] = str(address[0]) if address else ""
        if len(self._streams) > self._connections_max:
            victim = surplus(list(self._streams.items()))
            self._forget(victim)
            victim.close()
            if victim is stream:
                return
        # tcp(7): it ends if the client acknowledges nothing, or its window is closed, for so long.
        stream.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(SEND_S * 1000))
        self._ends[stream] = stream.io_loop.call_later(LIFE_S, stream.close)
        super().handle_stream(stream, address)

    def on_close(self, server_conn: object) -> None:
        """Tornado's: a connection is over."""
        super().on_close(server_conn)
        self._forget(server_conn.stream)  # type: ignore[attr-defined]

    def _forget(self, stream: iostream.IOStream) -> None:
        self._streams.pop(stream, None)
        end = self._ends.pop(stream, None)
        if end is not None:
            stream.io_loop.remove_timeout(end)


def surplus(connections: Sequence[tuple[Any, str]]) -> Any:
    """The connection that goes: the oldest of the address that holds most. Pure.

    `connections` are (connection, address), oldest first; not empty.
    """
    held = collections.Counter(address for _, address in connections)
    most = max(held.values())
    return next(one for one, address in connections if held[address] == most)


def listen(setting: str, port: int, application: web.Application) -> tuple[Face, int]:
    """Serve `application` on `port` (0: any free one); the face, and its port.

    Raises SettingsError, which names `setting`, if the port is taken.
    """
    face = Face(application)
    try:
        sockets = netutil.bind_sockets(port)
    except OSError as error:
        cause = errors.Cause(setting, port, f"cannot be listened on: {error.strerror}")
        raise errors.SettingsError("the configuration is wrong:", (cause,)) from error
    face.add_sockets(sockets)
    return face, int(sockets[0].getsockname()[1])
