"""The contract of an engine of API objects: values by key, with revisions.

The model is etcd's: every write takes a higher revision of the whole store, a key's revision is
its compare-and-swap token, and history back to the last compaction can be read and watched. Values
are bytes; what they mean is the caller's business. Every call blocks; daemons run it in a thread.

Revisions never repeat, not even over a store that was lost or restored from a backup: see
`epochs`. A client that continues at a revision of the lost store gets Expired.

Tested in: tests/contract/objects/test_engine.py
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Literal, Protocol

EventKind = Literal["ADDED", "MODIFIED", "DELETED"]


@dataclasses.dataclass(frozen=True, slots=True)
class Item:
    """A key with its value and the revision that wrote it."""

    key: str
    value: bytes
    revision: int


@dataclasses.dataclass(frozen=True, slots=True)
class Page:
    """Part of a listing as of `revision`.

    `more`: keys follow the last item; `remaining` says how many, where the limit ended the page.
    """

    items: Sequence[Item]
    revision: int
    remaining: int = 0
    more: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class Event:
    """One write. `value` is the new value, or the last one of a DELETED key.

    `previous` is the value that it replaced, None for ADDED.
    """

    kind: EventKind
    key: str
    value: bytes
    revision: int
    previous: bytes | None


class Watch(Protocol):
    """Writes under a prefix, in order, none missing and none twice. For one thread at a time."""

    @property
    def revision(self) -> int:
        """Every write under the prefix up to this revision has been returned by `next`."""

    def next(self, timeout_s: float) -> Sequence[Event]:
        """The next events, or none after `timeout_s`. Events of one revision are not split.

        Raises Expired when compaction overtook this watch, Unavailable when the engine cannot be
        reached; after Unavailable, the next call continues where this one stood.
        """

    def close(self) -> None:
        """Free connection and thread; may be called twice, and from another thread."""


class Engine(Protocol):
    """Keys start with "/". Calls may come from several threads.

    All raise Unavailable when no server answers, and StorageError when it refuses us.
    """

    def revision(self) -> int:
        """The revision of the last write; at least 1, never decreasing."""

    def create(self, key: str, value: bytes) -> int:
        """The revision of the new key. Raises AlreadyExists."""

    def get(self, key: str) -> Item | None:
        """The key's current item: a read sees every write that was answered before it."""

    def check(self, revision: int) -> int:
        """The revision of the last write, if `revision` can be read and watched.

        Raises Expired when it is compacted away or was never given, TooLargeResourceVersion when
        it is still to come.
        """

    def list(
        self, prefix: str, *, limit: int = 0, after: str = "", revision: int = 0, size_max: int = 0
    ) -> Page:
        """Keys under `prefix` in byte order, from behind `after`, at most `limit` (0: all).

        The page ends behind the value with which its values reach `size_max` bytes (0: any size);
        an engine may read a few values more, but not many. As of `revision` (0: now). Raises as
        `check`.
        """

    def update(self, key: str, value: bytes, revision: int) -> int:
        """The key's new revision. Raises Conflict unless `revision` wrote the current value."""

    def delete(self, key: str, revision: int) -> int:
        """The deletion's revision. Raises Conflict unless `revision` wrote the current value."""

    def watch(self, prefix: str, after: int) -> Watch:
        """Writes under `prefix` of revisions above `after`. Raises Expired as `Watch.next`."""

    def compact(self, revision: int) -> None:
        """Forget history below `revision`; current values stay. Older or future: no effect."""

    def close(self) -> None:
        """Close connections and files."""


def after_prefix(prefix: str) -> str:
    """The first key behind every key that starts with `prefix`, which is not empty."""
    return prefix[:-1] + chr(ord(prefix[-1]) + 1)
