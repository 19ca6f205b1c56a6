"""One spool entry on its way to the store, and the interfaces of spool, store and reporter.

Nothing but what is known of an entry: `shipper` moves it on. Belongs to one event loop.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable
from typing import BinaryIO, Protocol

from coredumpd import aiokit, errors
from coredumpd.formats import core_index, crash_loop, layout
from coredumpd.formats import record as records


class Entry(Protocol):
    """One complete capture in the spool. Every method blocks."""

    id: str

    def update(self, record: records.CrashRecord, /) -> None:
        """Replace the record, durably. Raises StorageError."""

    def require_room(self, size: int, keep_free: int | None) -> None:
        """Raise StorageError when `size` more bytes leave less than `keep_free` of the disk."""

    def new_sealed(self) -> contextlib.AbstractContextManager[BinaryIO]:
        """An empty file for the sealed core, removed if the block fails. Raises StorageError."""

    def put_sealed(self, record: records.CrashRecord, sealed: BinaryIO, /) -> None:
        """Replace core and record by `sealed` and `record`, durably and in one step."""

    def record(self) -> records.CrashRecord:
        """Raises BadRecord for an invalid record, NotFound after a removal, StorageError."""

    def open_core(self) -> BinaryIO:
        """Raises as `record`; BadRecord for an entry without a core."""

    def index(self, record: records.CrashRecord, /) -> core_index.Index | None:
        """That of the core; None where `record` has none. Raises as `record`."""

    def remove(self) -> None:
        """Free the disk. May be called twice."""

    def set_aside(self) -> None:
        """Rename the entry so that no scan finds it, for a person to look at."""


class Spool(Protocol):
    """The spool of this node. Every method blocks."""

    path: str

    def add(self, record: records.CrashRecord, core: bytes, /) -> None:
        """Add an entry. Raises AlreadyExists, StorageError."""

    def entries(self) -> Iterable[Entry]:
        """Complete captures, oldest first."""


class Store(Protocol):
    """The part of `store.Store` that shipping needs; `commit` blocks and may be called twice."""

    def commit(
        self,
        key: layout.DumpKey,
        record: records.CrashRecord,
        core: BinaryIO,
        index: core_index.Index | None = None,
        /,
    ) -> None: ...


class Attributor(Protocol):
    """Completes a record. Raises Unavailable when a later try may succeed."""

    async def attribute(self, record: records.CrashRecord) -> records.CrashRecord: ...


class Sealer(Protocol):
    """Encrypts the cores that must not leave this node in the clear."""

    async def seal(self, entry: Entry, record: records.CrashRecord) -> records.CrashRecord | None:
        """Seal the entry if its namespace asks for it; return the record to ship.

        None: the entry can never be sealed, because its namespace is gone. Raises CannotSeal or
        StorageError when it must wait, BadRecord for a damaged core. A second call seals nothing.
        """


class Reporter(Protocol):
    """Reports each entry's fate by metrics and Events. Must not raise."""

    def arrived(self, record: records.CrashRecord) -> None: ...
    async def shipped(self, record: records.CrashRecord) -> None: ...
    async def refused(self, record: records.CrashRecord) -> None: ...
    def folded(self, crashes: int) -> None: ...
    async def failed(self, id: str, error: errors.CoredumpdError) -> None: ...
    async def set_aside(self, id: str) -> None: ...


class Progress:
    """When one commit last took bytes of its core; written by the thread of that commit."""

    def __init__(self) -> None:
        self.last_s = time.monotonic()

    def advance(self) -> None:
        """The commit has just taken bytes."""
        self.last_s = time.monotonic()


class Waiting:
    """One entry that is not shipped yet."""

    def __init__(self, entry: Entry, backoff: aiokit.Backoff) -> None:
        self.entry = entry
        self.backoff = backoff
        self.lane: str | None = None  # None until its record has been read
        self.pod: str | None = None  # the uid, as the node knows it
        self.namespace = ""  # as its record says; empty if it does not
        self.group: crash_loop.SameCrash | None = None  # crashes that may be one loop with it
        self.crash: crash_loop.Crash | None = None
        self.busy = False  # it has a slot: it is being shipped now
        self.folded = False  # into the count of a crash loop
        self.failing_since_s: float | None = None
        self.commit: Progress | None = None  # while one is running

    @property
    def id(self) -> str:
        return self.entry.id

    def read(self, record: records.CrashRecord) -> None:
        """Note what its record says: its lane and its crash loop."""
        self.lane, self.pod = record.container_id or record.pod_uid or "host", record.pod_uid
        self.namespace = record.namespace or ""
        self.group, self.crash = crash_loop.same_crash(record), crash_loop.of(record)

    def failed(self) -> None:
        """A try failed; the first failure starts the clock."""
        if self.failing_since_s is None:
            self.failing_since_s = time.monotonic()
