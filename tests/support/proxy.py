"""An HTTP proxy on loopback: CONNECT, and requests with an absolute URL."""

from __future__ import annotations

import contextlib
import select
import socket
import threading
import urllib.parse
from collections.abc import Mapping
from types import TracebackType

_CHUNK_BYTES = 64 * 1024


class Proxy:
    """Use as a context manager. `routes` maps HOST to the local port that stands for it.

    `requests` are (method, HOST:PORT or URL, value of Proxy-Authorization) as they came. A host
    without a route is answered 502.
    """

    def __init__(self, routes: Mapping[str, int] | None = None) -> None:
        self.routes = dict(routes or {})
        self.requests: list[tuple[str, str, str]] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._open: list[socket.socket] = []

    def __enter__(self) -> Proxy:
        threading.Thread(target=self._accept, name="proxy", daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._listener.close()
        for one in self._open:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    @property
    def hosts(self) -> list[str]:
        """The hosts that were asked for."""
        return [
            target.split("://")[-1].split("/")[0].rpartition(":")[0]
            for _, target, _ in self.requests
        ]

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # closed
            while True:
                client, _ = self._listener.accept()
                self._open.append(client)
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError):  # a peer has left
            head = b""
            while b"\r\n\r\n" not in head:
                piece = client.recv(_CHUNK_BYTES)
                if not piece:
                    return
                head += piece
            line, *fields = head.split(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")
            method, target, _ = line.split(" ")
            named = dict(field.lower().split(": ", 1) for field in fields)
            self.requests.append((method, target, named.get("proxy-authorization", "")))
            parts = urllib.parse.urlsplit(target if "://" in target else f"//{target}")
            port = self.routes.get(parts.hostname or "")
            if port is None:
                client.sendall(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")
                client.close()
                return
            upstream = socket.create_connection(("127.0.0.1", port))
            self._open.append(upstream)
            if method == "CONNECT":
                client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            else:
                upstream.sendall(head)
            _pass_on(client, upstream)


def _pass_on(one: socket.socket, other: socket.socket) -> None:
    """Bytes in both directions, until either side ends."""
    while True:
        for source in select.select([one, other], [], [])[0]:
            piece = source.recv(_CHUNK_BYTES)
            if not piece:
                one.close()
                other.close()
                return
            (other if source is one else one).sendall(piece)
