"""How a core in the spool is sealed: its age file, in gzip members of stored blocks.

A core with an index is sealed as a .tar.gz that holds it as a sparse file: so the age file alone is
enough to have the core, and nothing in the clear tells where its holes are.
"""

from __future__ import annotations

import contextlib
import os
import zlib
from typing import BinaryIO

from coredumpd import durable, errors, sealing
from coredumpd.agent.shipping import entry as entries
from coredumpd.archive import plan, stream
from coredumpd.formats import core_index
from coredumpd.formats import record as records
from coredumpd.gzipio import check, stored

MEMBER_BYTES = 1024 * 1024  # of the age file, in each gzip member; two or three are in memory


def seal(
    entry: entries.Entry,
    record: records.CrashRecord,
    recipients: sealing.Recipients,
    keep_free: int | None = 0,
) -> records.CrashRecord:
    """Replace the entry's core by its sealed form; return its new record. Blocks.

    Both lie on the spool's disk for a moment, and leave `keep_free` of it (see `spool.room`).
    Raises BadRecord for a damaged core, CannotSeal, StorageError; the entry is then unchanged.
    """
    entry.require_room(record.stored_size, keep_free)
    with contextlib.closing(entry.open_core()) as core, entry.new_sealed() as file:
        members = Members(file)
        index = entry.index(record)
        source: sealing.Reader = check.checked(core, record, index=index)
        if index is not None:
            while source.read(MEMBER_BYTES):
                pass  # verified before it is read in another order
            source = SparseFile(core, record, index)
        try:
            sealing.seal(source, members, recipients)
            members.end()
        except OSError as error:
            raise errors.StorageError(f"cannot seal {record.id}: {error.strerror}") from error
        sealed = record_of(record, members, recipients)
        entry.put_sealed(sealed, file)
    return sealed


def record_of(
    record: records.CrashRecord, members: Members, recipients: sealing.Recipients
) -> records.CrashRecord:
    """The record of the sealed core: `core.size` and `crc32` still describe the kernel's core.

    The address of the fault stays in the core alone: a wild pointer is 8 bytes of memory.
    """
    sealed = {
        "size": members.size,
        "crc32": f"{members.crc32:08x}",
        "members": members.count,
        "to": list(recipients.names),
        **({"tar": True} if record.index is not None else {}),
    }
    core = {name: value for name, value in record.raw["core"].items() if name != "index"}
    signal = {name: value for name, value in record.raw["signal"].items() if name != "address"}
    core |= {"storedSize": members.stored_size, "sealed": sealed}
    return record.with_(core=core, signal=signal)


class SparseFile:
    """The .tar.gz of a core with an index, to be read in order."""

    def __init__(
        self, core: BinaryIO, record: records.CrashRecord, index: core_index.Index
    ) -> None:
        dump = plan.Dump(record.key(), record, record.stored_size, index)
        self._chunks = stream.read(plan.core_alone(dump), lambda _: _Stored(core))

    def read(self, _: int) -> bytes:
        """The next bytes, b"" at the end. Raises StorageError."""
        return next(self._chunks, b"")


class _Stored:
    """See `stream.Core`; its file is closed by who opened it."""

    def __init__(self, core: BinaryIO) -> None:
        self._core = core
        self.size = os.fstat(core.fileno()).st_size

    def read_at(self, offset: int, size: int) -> bytes:
        """As os.pread."""
        return os.pread(self._core.fileno(), size, offset)

    def close(self) -> None:
        """Nothing."""


class Members:
    """A file whose content is stored in gzip members of stored blocks, as readers expect."""

    def __init__(self, sink: BinaryIO, member_bytes: int = MEMBER_BYTES) -> None:
        """`sink` must be unbuffered, so that closing it cannot fail for bytes written before."""
        self._sink = sink
        self._member_bytes = member_bytes
        self._waiting = bytearray()
        self.size = self.crc32 = self.count = self.stored_size = 0

    def write(self, data: bytes) -> None:
        """Append `data`. Raises OSError."""
        self._waiting += data
        while len(self._waiting) >= self._member_bytes:
            self._put(bytes(self._waiting[: self._member_bytes]))
            del self._waiting[: self._member_bytes]

    def end(self) -> None:
        """Write the last member; an empty file has one too. Raises OSError."""
        if self._waiting or not self.count:
            self._put(bytes(self._waiting))
            self._waiting.clear()

    def _put(self, data: bytes) -> None:
        member = stored.member(data)
        durable.write_all(self._sink.fileno(), member)
        self.size += len(data)
        self.crc32 = zlib.crc32(data, self.crc32)
        self.count += 1
        self.stored_size += len(member)
