"""A TCP proxy that meddles: slow, cut, refusing, answering garbage, flipping bits."""

from __future__ import annotations

import contextlib
import socket
import threading
import time

_CHUNK_BYTES = 16 * 1024


class Meddler:
    """Forwards connections to `upstream` on loopback; the knobs may be turned at any time."""

    def __init__(self, upstream: int) -> None:
        self.rate: float | None = None  # bytes a second and direction
        self.cut_after: int | None = None  # bytes sent upstream, of all connections together
        self.garbage: bytes | None = None  # the answer to every connection
        self.flip_answers = False  # spoil the answers' bodies
        self.flip_requests = False
        self.refusing = False
        self.heard: list[bytes] | None = None  # what clients sent, if anybody listens
        self.cuts = 0
        self._upstream = upstream
        self._seen = 0
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, name="meddler", daemon=True).start()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def well(self) -> None:
        """Stop meddling. Connections that were meddled with are closed."""
        self.rate = self.cut_after = self.garbage = None
        self.flip_answers = self.flip_requests = self.refusing = False
        self.hang_up()

    def hang_up(self) -> None:
        with self._lock:
            connections = list(self._open)
        for connection in connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def cut_upload_after(self, size: int) -> None:
        self._seen, self.cut_after = 0, size

    def close(self) -> None:
        self._listener.close()
        self.hang_up()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # closed
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        if self.refusing:
            client.close()
            return
        if self.garbage is not None:
            with contextlib.suppress(OSError), client:
                client.recv(_CHUNK_BYTES)
                client.sendall(self.garbage)
            return
        try:
            server = socket.create_connection(("127.0.0.1", self._upstream))
        except OSError:
            client.close()
            return
        with self._lock:
            self._open |= {client, server}
        up = threading.Thread(target=self._pump, args=(client, server, True), daemon=True)
        up.start()
        self._pump(server, client, False)
        up.join()
        with self._lock:
            self._open -= {client, server}
        client.close()
        server.close()

    def _pump(self, source: socket.socket, sink: socket.socket, upwards: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(_CHUNK_BYTES):
                if upwards and self.heard is not None:
                    self.heard.append(data)
                if self.rate is not None:
                    time.sleep(len(data) / self.rate)
                if upwards and self.cut_after is not None:
                    self._seen += len(data)
                    if self._seen > self.cut_after:
                        self.cut_after = None
                        self.cuts += 1
                        break
                if (self.flip_requests if upwards else self.flip_answers) and len(data) > 8000:
                    data = data[:-1] + bytes([data[-1] ^ 1])
                sink.sendall(data)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
