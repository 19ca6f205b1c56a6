"""A core on its way into a bucket: read in parts, checksums counted."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterator
from typing import BinaryIO

from coredumpd import errors
from coredumpd.formats import record as records

# S3 takes parts from 5 MiB and at most 10000 of them (its limits page); each is in memory twice.
_PART_BYTES_MIN, _PARTS_MAX, _PARTS_AT_ONCE = 5 * 1024 * 1024, 9000, 2


_READ_BYTES = 1024 * 1024


class Sending:
    """A core on its way: its CRC-32, and the ETag that S3 gives such an upload.

    MD5 of the bytes, or of the parts' MD5s with their count; other stores and KMS differ.
    """

    def __init__(self, core: BinaryIO, entry: records.CrashRecord) -> None:
        self.size: int = entry.raw["core"]["storedSize"]
        share = -(-self.size // _PARTS_MAX)
        self.part_bytes = max(_PART_BYTES_MIN, -(-share // _READ_BYTES) * _READ_BYTES)
        self.crc = 0
        self.etag = ""
        self._core = core
        self._id = entry.id

    def whole(self) -> bytes:
        """All of it. Raises BadRecord when it is not `size` bytes."""
        return b"".join(self)

    def __iter__(self) -> Iterator[bytes]:
        """Chunks. Raises BadRecord before the last byte is sent when they are not `size` bytes."""
        seen, digests = 0, []
        part = hashlib.md5(usedforsecurity=False)
        while chunk := self._core.read(_READ_BYTES):
            seen += len(chunk)
            if seen > self.size:
                break
            self.crc = zlib.crc32(chunk, self.crc)
            left = self.part_bytes - (seen - len(chunk)) % self.part_bytes
            part.update(chunk[:left])
            if len(chunk) >= left:
                digests.append(part.digest())
                part = hashlib.md5(chunk[left:], usedforsecurity=False)
            yield chunk
        if seen != self.size:
            more = " or more" if seen > self.size else ""
            rule = f"core.storedSize says {self.size}"
            raise errors.BadRecord(f"{self._id}: the core is {seen} bytes{more}; {rule}")
        if self.size <= self.part_bytes:
            self.etag = digests[0].hex() if digests else part.hexdigest()
            return
        if self.size % self.part_bytes:
            digests.append(part.digest())
        whole = hashlib.md5(b"".join(digests), usedforsecurity=False)
        self.etag = f"{whole.hexdigest()}-{len(digests)}"
