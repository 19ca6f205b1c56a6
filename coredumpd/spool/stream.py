"""From the kernel's pipe to gzip members on disk, at the pipe's pace and in flat memory.

The output is a sequence of gzip members (RFC 1952) of `MEMBER_BYTES` of input each, so a capture
that must end early, a disk that fills, a handler that is killed, leaves whole members behind: cut
the file after the last one and it is valid.

ISA-L (`isal`) is the one third-party import of the crash path.
"""

from __future__ import annotations

import fcntl
import os
import select
import time

from isal import isal_zlib

from coredumpd.spool import coresize

CHUNK_BYTES = 1024 * 1024
MEMBER_BYTES = 16 * CHUNK_BYTES  # of input; what a full disk or a kill can cost at most
# ISA-L's levels. 1 is the default (851 MB/s, 9.8x on a real core); 0 is a quarter faster and takes
# a quarter more space, for when the kernel, and so the dying process, waits for us.
_LEVEL = 1
_LEVEL_BEHIND = 0
_BEHIND_BYTES = 256 * 1024  # waiting in the pipe when a member begins
GZIP_WINDOW = 31  # zlib's convention: 15 bits of window, +16 for the gzip container
_FIONREAD = 0x541B  # asm-generic/ioctls.h
_TRAILER_BYTES = 8  # RFC 1952: CRC-32 and length of the member's input, little endian

_ZEROS = bytes(CHUNK_BYTES)
WRITEBACK_BYTES = 8 * CHUNK_BYTES

# Why a capture ended before the core did; `core.truncated.reason` in the record.
EMPTY = "the kernel sent nothing"
MAX_SIZE = "larger than maxSize"
TIMEOUT = "captureTimeout passed"
RLIMIT = "larger than RLIMIT_CORE"
QUOTA = "the namespace's quota is reached (onQuota: reject)"
SPOOL_FULL = "the spool is full (spoolMaxUse, spoolKeepFree)"
SHORT = "the stream ended before the size its headers state"


class Result:
    """What was stored: `size` and `crc32` are of the input, `stored_size` is bytes of gzip."""

    __slots__ = ("crc32", "members", "reason", "size", "sparse_size", "stored_size")

    def __init__(self) -> None:
        self.size = 0
        self.stored_size = 0
        self.crc32 = 0
        self.members = 0
        self.sparse_size = 0  # of the input: what came as whole chunks of zeros
        self.reason: str | None = None  # None: the whole core

    def add(self, size: int, stored_size: int, crc32: int) -> None:
        """Count one more gzip member."""
        self.crc32 = isal_zlib.crc32_combine(self.crc32, crc32, size)
        self.size += size
        self.stored_size += stored_size
        self.members += 1


class _SpoolFullError(Exception):
    """Policy gives the spool no more room."""


class Copier:
    """Copies one stream into one file descriptor, which it may cut; closes neither."""

    def __init__(self, sink: int, size_max: int, deadline: float, stored_max: int = 2**63) -> None:
        """`size_max` in bytes of input, `stored_max` of output; `deadline` is monotonic time."""
        self._sink = sink
        self._size_max = size_max
        self._deadline = deadline
        self._expectation = coresize.Expectation()
        self._source = -1
        self._member = Member()
        self._stored_max = stored_max
        self._written = 0
        self._dirty = 0  # bytes written since the disk was last started on them
        self.result = Result()

    def copy(self, source: int, first: bytes) -> Result:
        """Store `first`, then `source` until it ends or a limit does.

        Never raises for a full or failing disk: what was stored stays, cut to whole members, and
        `result.reason` says why.
        """
        self._source = source
        try:
            self._copy(first)
            self._end_member()
        except _SpoolFullError:
            self._cut(SPOOL_FULL)
        except OSError as error:
            self._cut(f"the spool failed: {error.strerror}")
        if not self.result.members:
            self._store_nothing()
        self._judge()
        return self.result

    def _copy(self, first: bytes) -> None:
        """Fill a whole chunk, store it, and let the pipe fill up with the next one meanwhile."""
        chunk = bytearray(CHUNK_BYTES)
        chunk[: len(first)] = first
        filled, ended = len(first), False
        poll = select.poll()
        poll.register(self._source, select.POLLIN)
        while not ended:
            filled, ended = self._fill(poll, memoryview(chunk), filled)
            room = self._size_max - self.result.size - self._member.size
            if filled > room:
                self.result.reason, ended = MAX_SIZE, True
            self._store(chunk, min(filled, room))
            filled = 0

    def _fill(self, poll: select.poll, chunk: memoryview, filled: int) -> tuple[int, bool]:
        """Read until `chunk` is full: (how far it is filled, has the stream ended)."""
        while filled < len(chunk):
            left_s = self._deadline - time.monotonic()
            if left_s <= 0 or not poll.poll(left_s * 1000):
                self.result.reason = TIMEOUT
                return filled, True
            try:
                count = os.readv(self._source, [chunk[filled:]])
            except OSError as error:  # a socket's peer can go away; a pipe's cannot
                self.result.reason = f"the stream failed: {error.strerror}"
                return filled, True
            if count == 0:
                return filled, True
            filled += count
        return filled, False

    def _store(self, chunk: bytearray, filled: int) -> None:
        view = memoryview(chunk)[:filled]
        if self._expectation.wants_more:
            self._expectation.feed(view)
        # The comparison ends at the first byte that is not zero: it costs nothing but for zeros.
        if filled == CHUNK_BYTES and chunk.startswith(_ZEROS):
            self._end_member()
            data, crc32 = _zero_chunk()
            self._write(data)
            self.result.add(CHUNK_BYTES, len(data), crc32)
            self.result.sparse_size += CHUNK_BYTES
            return
        self._write(self._member.add(view))
        if self._member.size >= MEMBER_BYTES:
            self._end_member()

    def _end_member(self) -> None:
        member, result = self._member, self.result
        if member.size:
            self._write(member.end())
            result.add(member.size, member.stored_size, member.crc32)
            self._member = Member(_level(self._source))

    def _store_nothing(self) -> None:
        """A gzip member of no input: a file that gunzip accepts."""
        member = Member()
        data = member.end()
        try:
            write_all(self._sink, data)
        except OSError:
            os.ftruncate(self._sink, 0)  # not even these: the record says storedSize 0
            return
        self.result.add(0, len(data), 0)

    def _write(self, data: bytes) -> None:
        """Write, and start the disk on what has piled up: the last fsync then finds little left."""
        self._written += len(data)
        if self._written > self._stored_max:
            raise _SpoolFullError
        write_all(self._sink, data)
        self._dirty += len(data)
        if self._dirty >= WRITEBACK_BYTES:
            # posix_fadvise(2): DONTNEED begins write-out of dirty pages and drops only clean ones.
            os.posix_fadvise(self._sink, 0, 0, os.POSIX_FADV_DONTNEED)
            self._dirty = 0

    def _cut(self, reason: str) -> None:
        """Drop the member that could not be written whole. Shrinking a file needs no space."""
        self.result.reason = reason
        os.ftruncate(self._sink, self.result.stored_size)
        os.lseek(self._sink, self.result.stored_size, os.SEEK_SET)

    def _judge(self) -> None:
        result, expected = self.result, self._expectation.size
        if result.reason is None and result.size == 0:
            result.reason = EMPTY
        elif result.reason is None and expected is not None and result.size < expected:
            result.reason = SHORT


class Member:
    """One gzip member being made; `size` and `crc32` (once ended) are of its input."""

    __slots__ = ("_deflate", "crc32", "size", "stored_size")

    def __init__(self, level: int = _LEVEL) -> None:
        self._deflate = isal_zlib.compressobj(level, wbits=GZIP_WINDOW)
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


def _level(source: int) -> int:
    """How hard to compress, by what waits in `source` (FIONREAD: pipe(7), unix(7))."""
    try:
        waiting = fcntl.ioctl(source, _FIONREAD, bytes(4))
    except OSError:
        return _LEVEL  # a file: nobody waits
    return _LEVEL_BEHIND if int.from_bytes(waiting, "little") > _BEHIND_BYTES else _LEVEL


_zero: list[tuple[bytes, int]] = []  # made once, by the first core that has such a chunk


def _zero_chunk() -> tuple[bytes, int]:
    """A gzip member that holds a chunk of zeros, and the CRC-32 of that chunk."""
    if not _zero:
        member = Member()
        _zero.append((member.add(memoryview(_ZEROS)) + member.end(), member.crc32))
    return _zero[0]


def write_all(sink: int, data: bytes) -> None:
    """os.write until everything is written. Raises OSError."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(sink, rest) :]
