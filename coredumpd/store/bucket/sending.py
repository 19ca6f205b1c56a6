"""The upload of one core to a bucket: its parts, and the checksums by which it is verified."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterator
from typing import BinaryIO

from coredumpd import errors
from coredumpd.formats import record as records

# S3 accepts parts of 5 MiB or more and at most 10000 of them
# (https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html); each is in memory twice.
_PART_BYTES_MIN, _PARTS_MAX = 5 * 1024 * 1024, 9000
PARTS_AT_ONCE = 2
READ_BYTES = 1024 * 1024


class CoreUpload:
    """The chunks of a core; once they are read, their CRC-32 and the ETag that S3 gives them.

    The ETag is the MD5 of the bytes, or of the parts' MD5s with their count; other stores, and S3
    with KMS, give other ETags.
    """

    def __init__(self, core: BinaryIO, record: records.CrashRecord) -> None:
        self.size = record.stored_size
        share = -(-self.size // _PARTS_MAX)
        self.part_bytes = max(_PART_BYTES_MIN, -(-share // READ_BYTES) * READ_BYTES)
        self.crc = 0
        self.etag = ""
        self._core = core
        self._id = record.id

    def whole(self) -> bytes:
        """The whole core. Raises BadRecord when it is not `size` bytes."""
        return b"".join(self)

    def __iter__(self) -> Iterator[bytes]:
        """Chunks. Raises BadRecord before the last byte is sent when they are not `size` bytes."""
        digests = _PartDigests(self.part_bytes)
        seen = 0
        while chunk := self._core.read(READ_BYTES):
            seen += len(chunk)
            if seen > self.size:
                break
            self.crc = zlib.crc32(chunk, self.crc)
            digests.update(chunk)
            yield chunk
        if seen != self.size:
            more = " or more" if seen > self.size else ""
            rule = f"core.storedSize says {self.size}"
            raise errors.BadRecord(f"{self._id}: the core is {seen} bytes{more}; {rule}")
        self.etag = digests.etag(multipart=self.size > self.part_bytes)


class _PartDigests:
    """MD5 of each part of `part_bytes`; chunks are no longer than a part."""

    def __init__(self, part_bytes: int) -> None:
        self._part_bytes = part_bytes
        self._complete: list[bytes] = []
        self._part = hashlib.md5(usedforsecurity=False)
        self._part_seen = 0

    def update(self, chunk: bytes) -> None:
        """The next bytes."""
        remaining = self._part_bytes - self._part_seen
        self._part.update(chunk[:remaining])
        self._part_seen += len(chunk)
        if self._part_seen >= self._part_bytes:
            self._complete.append(self._part.digest())
            self._part = hashlib.md5(chunk[remaining:], usedforsecurity=False)
            self._part_seen -= self._part_bytes

    def etag(self, *, multipart: bool) -> str:
        """The ETag that S3 gives the bytes so far, sent as parts or as one."""
        digests = self._complete + ([self._part.digest()] if self._part_seen else [])
        if not multipart:
            return (digests[0] if digests else self._part.digest()).hex()
        whole = hashlib.md5(b"".join(digests), usedforsecurity=False)
        return f"{whole.hexdigest()}-{len(digests)}"
