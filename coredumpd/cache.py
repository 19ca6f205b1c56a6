"""Bounded maps whose entries expire. Owner of the `cachetools` dependency.

`cachetools` is pure Python without dependencies, and keeps two promises that seven maps of our own
kept in three ways: never more than so many entries, and none older than its lifetime. Not
thread-safe: guard a map that threads share with a lock.
"""

from __future__ import annotations

import time
from collections.abc import Callable, MutableMapping
from typing import Any

import cachetools


def expiring(
    entries_max: int, lifetime_s: float, clock: Callable[[], float] = time.monotonic
) -> MutableMapping[Any, Any]:
    """A map that forgets an entry `lifetime_s` seconds after it was set, and the least recently
    used one when there would be more than `entries_max`.
    """
    return cachetools.TTLCache(entries_max, lifetime_s, clock)


def expiring_bytes(
    bytes_max: int, lifetime_s: float, clock: Callable[[], float] = time.monotonic
) -> MutableMapping[Any, bytes]:
    """As `expiring`, of byte strings that together have at most `bytes_max` bytes."""
    return cachetools.TTLCache(bytes_max, lifetime_s, clock, getsizeof=len)


def expiring_sized(
    size_max: int,
    lifetime_s: float,
    size: Callable[[Any], int],
    clock: Callable[[], float] = time.monotonic,
) -> MutableMapping[Any, Any]:
    """As `expiring`, of values that together have at most `size_max` by `size`.

    To set a value that is larger raises ValueError.
    """
    return cachetools.TTLCache(size_max, lifetime_s, clock, getsizeof=size)


def recent(entries_max: int) -> MutableMapping[Any, Any]:
    """A map of the `entries_max` most recently used entries."""
    return cachetools.LRUCache(entries_max)
