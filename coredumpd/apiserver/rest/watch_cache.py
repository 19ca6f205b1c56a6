"""The recent changes of a resource, and its watchers. Belongs to the event loop.

One source pushes changes; a watcher costs no thread and no timer here, only an event in a set.
"""

from __future__ import annotations

import asyncio
import bisect
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from coredumpd import errors

CHANGES_MAX = 10_000
BYTES_MAX = 32 * 1024 * 1024
OBJECT_BYTES = 2048  # of memory that an object takes beside its texts, for `Change.size`


@dataclasses.dataclass
class Change:
    """One write: `obj` after it (if DELETED, its last state), `previous` before it.

    `size` is the memory that both take in the cache, in bytes.
    """

    kind: Literal["ADDED", "MODIFIED", "DELETED"]
    obj: Mapping[str, Any]
    previous: Mapping[str, Any] | None
    revision: int
    size: int
    # The object as every watcher sees it; computed for the first watcher that needs it.
    shown: asyncio.Task[dict[str, Any]] | None = None


class WatchCache:
    """Holds the changes above revision `since`; watchers wait for those above `latest`.

    Where each server counts revisions for itself, `ours` tells its own from other servers'.
    """

    def __init__(self, ours: Callable[[int], bool] = lambda _: True) -> None:
        self._ours = ours
        self.since = 0
        self.latest = 0
        self.open = False
        self.closed = False
        self._changes: list[Change] = []
        self._revisions: list[int] = []
        self._bytes = 0
        self._watchers: set[asyncio.Event] = set()

    def start(self, revision: int) -> None:
        """Changes above `revision` will follow; a watcher below it must list again."""
        self.since = self.latest = revision
        self._changes.clear()
        self._revisions.clear()
        self._bytes = 0
        self.open = True
        self._wake()

    def push(self, changes: Sequence[Change]) -> None:
        """Append changes, in the order of their revisions."""
        for change in changes:
            self._changes.append(change)
            self._revisions.append(change.revision)
            self._bytes += change.size
            self.latest = max(self.latest, change.revision)
        self._trim()
        if changes:
            self._wake()

    def advance(self, revision: int) -> None:
        """Nothing more will come at or below `revision`."""
        self.latest = max(self.latest, revision)

    def close(self) -> None:
        """End every watch: this server stops."""
        self.closed = True
        self._wake()

    def after(self, revision: int, size_max: int = BYTES_MAX) -> Sequence[Change]:
        """The next changes above `revision`: one, and more while they have less than `size_max`.

        Raises Expired when not all changes above `revision` are kept any more.
        """
        self.check(revision)
        changes: list[Change] = []
        size = 0
        for place in range(bisect.bisect_right(self._revisions, revision), len(self._changes)):
            change = self._changes[place]
            size += change.size
            if changes and size > size_max:
                break
            changes.append(change)
        return changes

    def check(self, revision: int) -> None:
        """Raises Expired when not all changes above `revision` are kept any more."""
        if not self._ours(revision):
            raise errors.Expired(f"resource version {revision} is another server's; list again")
        if revision < self.since:
            raise errors.Expired(
                f"too old resource version: {revision} (kept since {self.since}); list again"
            )

    def join(self, wake: asyncio.Event) -> None:
        """Set `wake` at every change, until `leave`."""
        self._watchers.add(wake)

    def leave(self, wake: asyncio.Event) -> None:
        """The opposite of `join`; may be called twice."""
        self._watchers.discard(wake)

    @property
    def watchers(self) -> int:
        """The number of watchers."""
        return len(self._watchers)

    def _wake(self) -> None:
        for wake in self._watchers:
            wake.set()

    def _trim(self) -> None:
        drop, remaining = 0, self._bytes
        while drop < len(self._changes) and (
            len(self._changes) - drop > CHANGES_MAX or remaining > BYTES_MAX
        ):
            remaining -= self._changes[drop].size
            drop += 1
        if drop:
            self.since = self._changes[drop - 1].revision
            self._bytes = remaining
            del self._changes[:drop], self._revisions[:drop]
