"""How a core in the spool is sealed: its age file, in gzip members of stored blocks."""

from __future__ import annotations

import contextlib
import zlib
from typing import BinaryIO

from coredumpd import durable, errors, sealing
from coredumpd.agent.shipping import entry as entries
from coredumpd.formats import record as records
from coredumpd.gzipio import check, stored

MEMBER_BYTES = 1024 * 1024  # of the age file, in each gzip member; two or three are in memory


def seal(
    entry: entries.Entry, record: records.CrashRecord, recipients: sealing.Recipients
) -> records.CrashRecord:
    """Replace the entry's core by its sealed form; return its new record. Blocks.

    Raises BadRecord for a damaged core, CannotSeal, StorageError; the entry is then unchanged.
    """
    with contextlib.closing(entry.open_core()) as core, entry.new_sealed() as file:
        members = Members(file)
        try:
            sealing.seal(check.checked(core, record), members, recipients)
            members.end()
        except OSError as error:
            raise errors.StorageError(f"cannot seal {record.id}: {error.strerror}") from error
        sealed = record_of(record, members, recipients)
        entry.put_sealed(sealed, file)
    return sealed


def record_of(
    record: records.CrashRecord, members: Members, recipients: sealing.Recipients
) -> records.CrashRecord:
    """The record of the sealed core: `core.size` and `crc32` still describe the kernel's core."""
    sealed = {
        "size": members.size,
        "crc32": f"{members.crc32:08x}",
        "members": members.count,
        "to": list(recipients.names),
    }
    return record.with_core(storedSize=members.stored_size, sealed=sealed)


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
