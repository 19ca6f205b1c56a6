"""Python's `ssl` alone: answers a head, holds the connection. The peer of `bench.watch`."""

from __future__ import annotations

import socket
import ssl
import sys


def serve(certificate: str, key: str) -> None:
    """On a free port of loopback, which is printed. One client's handshake at a time."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    listener = socket.create_server(("127.0.0.1", 0), backlog=128)
    print(listener.getsockname()[1], flush=True)
    held = []
    while True:
        connection = context.wrap_socket(listener.accept()[0], server_side=True)
        head = b""
        while b"\r\n\r\n" not in head:
            head += connection.recv(4096)
        connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        held.append(connection)


if __name__ == "__main__":
    serve(*sys.argv[1:])
