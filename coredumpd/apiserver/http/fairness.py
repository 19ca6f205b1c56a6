"""The shares of callers: watches, downloads, requests in flight, reviews of tokens.

https://kubernetes.io/docs/concepts/cluster-administration/flow-control/ does it for kube-apiserver:
who is refused is answered 429 with Retry-After, and clients of Kubernetes try again by themselves.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Mapping
from typing import Literal

from coredumpd import errors
from coredumpd.apiserver.auth import interface, tenants
from coredumpd.apiserver.machinery import shares

Kind = Literal["watch", "download", "request", "review"]
_RESERVED = 16  # one reserved place for so many others
_OF_CONNECTIONS = 0.75  # may be held at a time; the rest is for probes and newcomers
_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Limits:
    """The most watches, downloads and short requests at a time, of all callers together."""

    watches: int = 2048
    downloads: int = 512
    requests: int = 256

    def within(self, connections: int) -> Limits:
        """The same, or less if they would take more than their part of `connections`."""
        total = self.watches + self.downloads + self.requests
        part = _OF_CONNECTIONS / (1 + 1 / _RESERVED) * connections / total
        if part >= 1:
            return self
        fewer = (self.watches, self.downloads, self.requests)
        limits = Limits(*(max(2, int(number * part)) for number in fewer))
        _log.warning("%d connections: the limits are %s", connections, limits)
        return limits


class Fairness:
    """The shares of each kind. Belongs to one event loop."""

    def __init__(self, limits: Limits = Limits()) -> None:
        self.shares: Mapping[Kind, shares.Shares] = {
            "watch": _shares(limits.watches, can_end=True),
            "download": _shares(limits.downloads),
            "request": _shares(limits.requests),
            "review": shares.Shares(limits.requests),
        }

    def take(
        self, kind: Kind, caller: interface.Caller, end: Callable[[], None] | None = None
    ) -> Held:
        """A place for a request of `caller`. Raises TooManyRequests."""
        place = self.shares[kind].take(tenants.tenant(caller), end, tenants.is_system(caller))
        return self._held(kind, place)

    def take_review(self, peer: str) -> Held:
        """A place for a request from an address, while its token is being reviewed."""
        return self._held("review", self.shares["review"].take(peer))

    def _held(self, kind: Kind, place: shares.Place | None) -> Held:
        if place is None:
            raise errors.TooManyRequests(
                f"too many requests: this caller has its share of the {kind} places already; "
                "please try again later"
            )
        return Held(self.shares[kind], place)


class Held:
    """A place that is given back at the end of the block, or by `close`."""

    def __init__(self, of: shares.Shares, place: shares.Place) -> None:
        self._of = of
        self._place = place

    def __enter__(self) -> Held:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the place back. May be called twice."""
        self._of.give_back(self._place)


def _shares(places: int, can_end: bool = False) -> shares.Shares:
    return shares.Shares(places, max(1, places // _RESERVED), can_end)
