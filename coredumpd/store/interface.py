"""The contract of a store: dumps read and written by DumpKey, whatever lies underneath.

Every call blocks; daemons make it in a thread. The store is the only truth about dumps: there is
no index beside it, and nothing in it is visible before it is whole.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO, NamedTuple, Protocol

from coredumpd.formats import layout
from coredumpd.formats import record as records

EVERYTHING = layout.Prefix()


class File(NamedTuple):
    """One file or object of a store, whether it belongs to a dump or not."""

    path: str  # below the root, joined by "/"; an empty directory's ends in "/"
    size: int  # bytes
    modified_s: float  # since 1970


class Core(Protocol):
    """An open core.gz. A core deleted while it is open stays readable or fails, never changes."""

    size: int  # bytes as stored, gzip members

    def read_at(self, offset: int, size: int) -> bytes:
        """Up to `size` bytes from `offset`; fewer only at the end. Raises StorageError."""

    def close(self) -> None:
        """Free what is held. May be called twice."""


class Store(Protocol):
    """One store of dumps. Calls may come from several threads at once.

    All raise StorageError when the medium fails, which makes trying again later worthwhile.
    """

    def commit(self, key: layout.DumpKey, record: records.CrashRecord, core: BinaryIO) -> None:
        """Keep `core` (gzip members, read from where it stands) under `key`, verified by reading.

        May be called twice: a dump already there with the same size and CRC is success, another
        one is AlreadyExists. A core that is not `core.storedSize` long is BadRecord.
        """

    def list(self, prefix: layout.Prefix = EVERYTHING) -> Iterator[layout.DumpKey]:
        """Keys below `prefix`, sorted as text. Files that belong to no dump are skipped."""

    def scan(
        self, prefix: layout.Prefix = EVERYTHING
    ) -> Iterator[tuple[layout.DumpKey, records.CrashRecord]]:
        """As `list`, with each dump's record; one that cannot be read is logged and skipped."""

    def read_note(self, namespace: str, pod_uid: str, name: str) -> bytes | None:
        """What was noted about a pod, beside its dumps; None if nothing was."""

    def write_note(self, namespace: str, pod_uid: str, name: str, data: bytes) -> None:
        """Note something about a pod that has dumps; replaces. No listing shows it."""

    def delete_note(self, namespace: str, pod_uid: str, name: str) -> None:
        """Forget what was noted. May be called twice."""

    def read_record(self, key: layout.DumpKey) -> records.CrashRecord:
        """Raises NotFound, or BadRecord when what is there is not a record."""

    def open_core(self, key: layout.DumpKey) -> Core:
        """Raises NotFound."""

    def delete(self, key: layout.DumpKey) -> None:
        """Remove the dump and its bytes. Raises NotFound."""

    def files(self, prefix: layout.Prefix = EVERYTHING) -> Iterator[File]:
        """Every file below `prefix`, sorted as text; those of one dump stand together."""

    def open_file(self, path: str) -> Core:
        """The file at `path`, as `files` names it. Raises NotFound."""

    def discard(self, path: str) -> None:
        """Remove the one file or empty directory at `path`, as `files` names it."""


class Target(Protocol):
    """Where dumps can be shipped to: a store, or a server that has one."""

    def commit(self, key: layout.DumpKey, record: records.CrashRecord, core: BinaryIO) -> None:
        """See `Store.commit`."""
