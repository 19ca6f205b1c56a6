"""From the kernel's pipe to gzip members on disk, at the pipe's pace and in flat memory.

The output is a sequence of gzip members (RFC 1952) of `MEMBER_BYTES` of input each, so a capture
that must end early, a disk that fills, a handler that is killed, leaves whole members behind: cut
the file after the last one and it is valid.

ISA-L (`isal`) is the one third-party import of the crash path.
"""

from __future__ import annotations

import os
import select
import time

from isal import isal_zlib

from coredumpd.spool import coresize

CHUNK_BYTES = 1024 * 1024
MEMBER_BYTES = 16 * CHUNK_BYTES  # of input; what a full disk or a kill can cost at most
_LEVEL = 1
GZIP_WINDOW = 31  # zlib's convention: 15 bits of window, +16 for the gzip container
_TRAILER_BYTES = 8  # RFC 1952: CRC-32 and length of the member's input, little endian

# Why a capture ended before the core did; `core.truncated.reason` in the record.
EMPTY = "the kernel sent nothing"
MAX_SIZE = "larger than maxSize"
TIMEOUT = "captureTimeout passed"
SHORT = "the stream ended before the size its headers state"


class Result:
    """What was stored: `size` and `crc32` are of the input, `stored_size` is bytes of gzip."""

    __slots__ = ("crc32", "members", "reason", "size", "stored_size")

    def __init__(self) -> None:
        self.size = 0
        self.stored_size = 0
        self.crc32 = 0
        self.members = 0
        self.reason: str | None = None  # None: the whole core

    def add(self, size: int, stored_size: int, crc32: int) -> None:
        """Count one more gzip member."""
        self.crc32 = isal_zlib.crc32_combine(self.crc32, crc32, size)
        self.size += size
        self.stored_size += stored_size
        self.members += 1


class Copier:
    """Copies one stream into one file descriptor, which it may cut; closes neither."""

    def __init__(self, sink: int, size_max: int, deadline: float) -> None:
        """`size_max` in bytes of input; `deadline` on the monotonic clock."""
        self._sink = sink
        self._size_max = size_max
        self._deadline = deadline
        self._expectation = coresize.Expectation()
        self._member = Member()
        self.result = Result()

    def copy(self, source: int, first: bytes) -> Result:
        """Store `first`, then `source` until it ends or a limit does.

        Never raises for a full or failing disk: what was stored stays, cut to whole members, and
        `result.reason` says why.
        """
        try:
            self._copy(source, first)
            self._end_member()
        except OSError as error:
            self._cut(f"the spool failed: {error.strerror}")
        self._judge()
        return self.result

    def _copy(self, source: int, first: bytes) -> None:
        self._store(memoryview(first)[: self._size_max])
        buffer = memoryview(bytearray(CHUNK_BYTES))
        poll = select.poll()
        poll.register(source, select.POLLIN)
        while True:
            room = self._size_max - self.result.size - self._member.size
            left_s = self._deadline - time.monotonic()
            if left_s <= 0 or not poll.poll(left_s * 1000):
                self.result.reason = TIMEOUT
                return
            count = os.readv(source, [buffer])
            if count == 0:
                return
            self._store(buffer[: min(count, room)])
            if count > room:
                self.result.reason = MAX_SIZE
                return

    def _store(self, chunk: memoryview) -> None:
        if self._expectation.wants_more:
            self._expectation.feed(chunk)
        write_all(self._sink, self._member.add(chunk))
        if self._member.size >= MEMBER_BYTES:
            self._end_member()

    def _end_member(self) -> None:
        member, result = self._member, self.result
        if member.size == 0 and result.members:
            return
        write_all(self._sink, member.end())
        result.add(member.size, member.stored_size, member.crc32)
        self._member = Member()

    def _cut(self, reason: str) -> None:
        """Drop the member that could not be written whole. Shrinking a file needs no space."""
        self.result.reason = reason
        os.ftruncate(self._sink, self.result.stored_size)

    def _judge(self) -> None:
        result, expected = self.result, self._expectation.size
        if result.reason is None and result.size == 0:
            result.reason = EMPTY
        elif result.reason is None and expected is not None and result.size < expected:
            result.reason = SHORT


class Member:
    """One gzip member being made; `size` and `crc32` (once ended) are of its input."""

    __slots__ = ("_deflate", "crc32", "size", "stored_size")

    def __init__(self) -> None:
        self._deflate = isal_zlib.compressobj(_LEVEL, wbits=GZIP_WINDOW)
        self.size = 0
        self.stored_size = 0
        self.crc32 = 0

    def add(self, chunk: memoryview) -> bytes:
        """Take `chunk`; what may be written by now."""
        self.size += len(chunk)
        return self._counted(self._deflate.compress(chunk))

    def end(self) -> bytes:
        """The rest of the member."""
        tail = self._deflate.flush()
        # The compressor has computed the CRC anyway; its trailer is the cheapest place to get it.
        self.crc32 = int.from_bytes(tail[-_TRAILER_BYTES:-4], "little")
        return self._counted(tail)

    def _counted(self, data: bytes) -> bytes:
        self.stored_size += len(data)
        return data


def write_all(sink: int, data: bytes) -> None:
    """os.write until everything is written. Raises OSError."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(sink, rest) :]
