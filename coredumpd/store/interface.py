"""The contract of a store: dumps are written and read by DumpKey, in whatever medium.

Every call blocks; daemons make it in a thread. The store is the only truth about dumps: there is
no index beside it, and no dump in it is visible before it is complete.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO, NamedTuple, Protocol, runtime_checkable

from coredumpd import errors
from coredumpd.formats import core_index, event_report, layout
from coredumpd.formats import record as records

EVERYTHING = layout.Prefix()


class File(NamedTuple):
    """One file or object of a store, whether it belongs to a dump or not."""

    path: str  # below the root, joined by "/"; that of an empty directory ends in "/"
    size: int  # bytes
    modified_s: float  # since 1970


class Core(Protocol):
    """An open core.gz. A core deleted while it is open stays readable or fails, never changes."""

    size: int  # bytes as stored, gzip members

    def read_at(self, offset: int, size: int) -> bytes:
        """Up to `size` bytes from `offset`; fewer only at the end. Raises StorageError."""

    def close(self) -> None:
        """Free the descriptor or the buffers. May be called twice."""


class Target(Protocol):
    """A place to ship dumps to: a store, or a server that has one."""

    def commit(
        self,
        key: layout.DumpKey,
        record: records.CrashRecord,
        core: BinaryIO,
        index: core_index.Index | None = None,
    ) -> None:
        """Keep `core` (gzip members, from its current position) under `key`, verified by reading.

        `index`: that of the core, if `record` has one. May be called twice: succeeds if the store
        has a dump of the same size and CRC. Raises AlreadyExists if it has another one, BadRecord
        for a core that is not `core.storedSize` long and for an index that is not the record's.
        """


class Store(Target, Protocol):
    """One store of dumps. Calls may come from several threads at once.

    All raise StorageError when the medium fails; trying again later may succeed.
    """

    def list(self, prefix: layout.Prefix = EVERYTHING) -> Iterator[layout.DumpKey]:
        """Keys below `prefix`, sorted as text. Files that belong to no dump are skipped."""

    def scan(
        self, prefix: layout.Prefix = EVERYTHING
    ) -> Iterator[tuple[layout.DumpKey, records.CrashRecord]]:
        """As `list`, with each dump's record; one that cannot be read is logged and skipped."""

    def read_note(self, namespace: str, pod_uid: str, name: str) -> bytes | None:
        """The pod's note of this name, None if there is none. Notes lie beside the pod's dumps."""

    def write_note(self, namespace: str, pod_uid: str, name: str, data: bytes) -> None:
        """Write or replace a note about a pod that has dumps. `list` and `scan` do not show it."""

    def delete_note(self, namespace: str, pod_uid: str, name: str) -> None:
        """Remove the note. May be called twice."""

    def read_record(self, key: layout.DumpKey) -> records.CrashRecord:
        """The record of the dump. Raises NotFound, or BadRecord when its meta.json is no record."""

    def open_core(self, key: layout.DumpKey) -> Core:
        """The core.gz of the dump. Raises NotFound."""

    def delete(self, key: layout.DumpKey) -> None:
        """Remove the dump and its bytes. Raises NotFound."""

    def files(self, prefix: layout.Prefix = EVERYTHING) -> Iterator[File]:
        """Every file below `prefix`, sorted as text, which keeps the files of a dump together."""

    def open_file(self, path: str) -> Core:
        """The file at `path`, as `files` names it. Raises NotFound."""

    def free_bytes(self) -> int | None:
        """Bytes that may still be written; None where the medium does not say (a bucket)."""

    def discard(self, path: str) -> None:
        """Remove the one file or empty directory at `path`, as `files` names it."""


@runtime_checkable
class EventTarget(Target, Protocol):
    """A server, which also writes Events on the pods whose dumps it gets."""

    def report(self, report: event_report.Report) -> None:
        """Ask for one Event. Raises StorageError."""


def check_same(
    key: layout.DumpKey, stored_record: records.CrashRecord, record: records.CrashRecord
) -> None:
    """Raises AlreadyExists unless the dump stored under `key` has the core of `record`."""
    if not records.same_core(stored_record.raw["core"], record.raw["core"]):
        raise errors.AlreadyExists(f"the store holds another dump under {key}")
