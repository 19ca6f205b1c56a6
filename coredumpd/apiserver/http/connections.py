"""Which connection is closed when there are too many. Knows no socket; belongs to one event loop.

A connection waits until a request on it has been authorized, and again after its answer. Only then
it may be closed for a newcomer: while it shakes hands, sends a head or a body that was refused, is
asked for its credentials, or idles. So strangers keep nobody out, however many and however slow.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Hashable
from typing import Any

FRONT_PROXY = "front proxy"
_FEW = 8


def peer_of(address: tuple[Any, ...]) -> str:
    """The holder of a share of connections: an IPv4 address, or a network of IPv6, which is /64."""
    try:
        ip = ipaddress.ip_address(str(address[0]).partition("%")[0])
    except (ValueError, IndexError):
        return ""
    if isinstance(ip, ipaddress.IPv4Address):
        return str(ip)
    if ip.ipv4_mapped is not None:
        return str(ip.ipv4_mapped)
    return str(ipaddress.ip_network((ip, 64), strict=False))


class Connections:
    """The open connections, by the peer that opened them; one peer has at most half of all.

    The front proxy's are no peer's: there the users behind it are limited, one by one.
    `closed` counts the connections that were closed to make room, or never let in.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.closed = 0
        self._peers: dict[Hashable, str] = {}
        self._counts: dict[str, int] = {}
        self._waiting: dict[str, dict[Hashable, int]] = {}  # the oldest first, numbered by age
        self._number = 0
        self._over: dict[Hashable, Callable[[], None]] = {}  # of those that are being answered

    def __len__(self) -> int:
        return len(self._peers)

    def __contains__(self, connection: Hashable) -> bool:
        return connection in self._peers

    def room(self, peer: str) -> tuple[bool, Any]:
        """(is a newcomer of `peer` let in, the connection that must be closed first or None)."""
        if self._counts.get(peer, 0) >= max(1, self.most // 2):
            victim = next(iter(self._waiting.get(peer, {})), None)
        elif len(self) < self.most:
            return True, None
        else:
            victim = self._oldest_of_most()
        self.closed += 1
        return victim is not None, victim

    def add(self, connection: Hashable, peer: str) -> None:
        """A newcomer was let in. It waits."""
        self._peers[connection] = peer
        self._counts[peer] = self._counts.get(peer, 0) + 1
        self.wait(connection)

    def trust(self, connection: Hashable) -> None:
        """It has proved to be the front proxy's."""
        if self._peers.get(connection, FRONT_PROXY) == FRONT_PROXY:
            return
        self.remove(connection)
        self.add(connection, FRONT_PROXY)

    def occupy(self, connection: Hashable, over: Callable[[], None]) -> bool:
        """An authorized request is being answered on it; False if it is not known.

        `over` is called once: when it waits again, or is closed.
        """
        if connection not in self._peers:
            return False
        self._forget_waiting(connection)
        self._over[connection] = over
        return True

    def wait(self, connection: Hashable) -> None:
        """It has nothing to do, from now on: the youngest of those that wait."""
        if connection in self._peers:
            self._end(connection)
            self._number += 1
            self._waiting.setdefault(self._peers[connection], {})[connection] = self._number

    def remove(self, connection: Hashable) -> None:
        """It is closed. May be called twice."""
        self._end(connection)
        peer = self._peers.pop(connection, None)
        if peer is not None:
            self._counts[peer] -= 1
            if not self._counts[peer]:
                del self._counts[peer]

    def _end(self, connection: Hashable) -> None:
        """It neither waits nor is being answered."""
        self._forget_waiting(connection)
        over = self._over.pop(connection, None)
        if over is not None:
            over()

    def _forget_waiting(self, connection: Hashable) -> None:
        peer = self._peers.get(connection, "")
        waiting = self._waiting.get(peer, {})
        waiting.pop(connection, None)
        if not waiting:
            self._waiting.pop(peer, None)

    def _oldest_of_most(self) -> Any:
        """The oldest that waits, of the peers of which most wait; the front proxy is one of them.

        Peers of which few wait are alike: a flood of many addresses with one connection each must
        not make a node with two probes the one that has most.
        """
        most = max((len(waiting) // _FEW for waiting in self._waiting.values()), default=0)
        oldest = [
            next(iter(waiting.items()))
            for waiting in self._waiting.values()
            if len(waiting) // _FEW == most
        ]
        return min(oldest, key=lambda item: item[1])[0] if oldest else None
