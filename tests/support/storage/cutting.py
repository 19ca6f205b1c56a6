"""A TCP proxy on loopback that cuts connections at the worst moment."""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading

_CHUNK = 1 << 16


class Proxy:
    """Passes bytes on to `port` of 127.0.0.1.

    After `cut("request")` the next bytes of a client are thrown away, after `cut("answer")` they
    get through and what comes back is thrown away; then both ends are closed, once.
    """

    def __init__(self, port: int) -> None:
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._cut: str | None = None
        self._open: set[socket.socket] = set()
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def cut(self, what: str) -> None:
        """Arm it: "request" or "answer"."""
        self._cut = what

    @property
    def armed(self) -> bool:
        """Has nothing been cut since `cut`?"""
        return self._cut is not None

    def close(self) -> None:
        """Stop accepting, and close what is open."""
        for one in [self._listener, *self._open]:
            with contextlib.suppress(OSError):  # not connected any more
                one.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(5)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return  # closed
            self._open.add(client)
            thread = threading.Thread(target=self._pass, args=(client,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _pass(self, client: socket.socket) -> None:
        with (
            client,
            socket.create_connection(("127.0.0.1", self._target)) as server,
            selectors.DefaultSelector() as selector,
        ):
            asked = False
            selector.register(client, selectors.EVENT_READ)
            selector.register(server, selectors.EVENT_READ)
            while True:
                for key, _ in selector.select():
                    source = client if key.fileobj is client else server
                    try:
                        data = source.recv(_CHUNK)
                        if source is client and data and self._cut is not None:
                            asked = True
                        if not data or self._cuts(asked, source is client):
                            return
                        (server if source is client else client).sendall(data)
                        if source is server and self._used_up(len(data)):
                            return
                    except OSError:
                        return

    def _used_up(self, size: int) -> bool:
        """Has a connection had its share?"""
        del size
        return False

    def _cuts(self, asked: bool, from_client: bool) -> bool:
        if asked and self._cut == ("request" if from_client else "answer"):
            self._cut = None
            return True
        return False


class Meter(Proxy):
    """Cuts, once, after `count` bytes of answers."""

    def __init__(self, port: int, count: int) -> None:
        self._count = count
        self.passed = 0  # bytes of answers, of all connections
        super().__init__(port)

    def _used_up(self, size: int) -> bool:
        before, self.passed = self.passed, self.passed + size
        return before < self._count <= self.passed
