"""The cluster's DNS, as far as our pods need it: the Service's name is the address of its pod.

Our cluster has neither CoreDNS nor kube-proxy: so the address is the endpoint's, not the Service's,
and the port is the pod's.
"""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import struct
import threading
from collections.abc import Callable, Iterator

_A, _NO_SUCH_NAME, _TTL_S = 1, 3, 1


def answer(query: bytes, name: str, address: str | None) -> bytes:
    """The response to a DNS query (RFC 1035): `name` is at `address`, every other does not exist.

    `address` None: the name exists, and has none. Pure.
    """
    asked, at = _question(query)
    kind = int.from_bytes(query[at : at + 2], "big")
    question = query[12 : at + 4]
    exists = asked == name
    record = b""
    if exists and kind == _A and address is not None:
        record = struct.pack("!HHHIH", 0xC00C, _A, 1, _TTL_S, 4)
        record += ipaddress.IPv4Address(address).packed
    flags = 0x8580 | (0 if exists else _NO_SUCH_NAME)  # an authoritative response
    return query[:2] + struct.pack("!HHHHH", flags, 1, bool(record), 0, 0) + question + record


def _question(query: bytes) -> tuple[str, int]:
    """The name that a query is about, and where its type is. Raises IndexError."""
    labels, at = [], 12
    while query[at]:
        labels.append(query[at + 1 : at + 1 + query[at]].decode("ascii", "replace").lower())
        at += 1 + query[at]
    return ".".join(labels).removesuffix(".cluster.local"), at + 1


@contextlib.contextmanager
def served(host: str, name: str, find: Callable[[], str | None]) -> Iterator[None]:
    """Answer at `host`, port 53, meanwhile; `find` returns the address of `name`."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind((host, 53))
        server.settimeout(0.5)
        over = threading.Event()
        arguments = (server, over, name, find)
        thread = threading.Thread(target=_serve, args=arguments, name="dns")
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()


def _serve(
    server: socket.socket, over: threading.Event, name: str, find: Callable[[], str | None]
) -> None:
    while not over.is_set():
        with contextlib.suppress(TimeoutError, IndexError):  # no query, or no whole one
            query, client = server.recvfrom(512)
            address = find() if _question(query)[0] == name else None
            server.sendto(answer(query, name, address), client)
