"""From the kernel's pipe to gzip members on disk, at the pipe's pace and in flat memory.

Two threads do the same work: each takes a chunk from the pipe, makes a member of it, and writes
that when all before it are written. So one reads or writes while the other compresses: all three
give up the GIL. A small core has one thread.
"""

from __future__ import annotations

import _thread
import os
import select
import time

from coredumpd import durable
from coredumpd.elfcore import prologue
from coredumpd.gzipio import member

# Of input, before a second thread pays. In a storm of small cores each capture has one: they keep
# the processors busy as it is, and others want them too.
_ALONE_BYTES = 128 * 1024 * 1024
WRITEBACK_BYTES = 8 * 1024 * 1024

# Why a capture ended before the core did; `core.truncated.reason` in the record.
EMPTY = "the kernel sent nothing"
MAX_SIZE = "larger than maxSize"
TIMEOUT = "captureTimeout passed"
RLIMIT = "larger than RLIMIT_CORE"
SPOOL_FULL = "the spool is full (spoolMaxUse, spoolKeepFree)"
SPOOL_SHARE = "its namespace has its share of the spool (spoolMaxUse, spoolKeepFree)"
SHORT = "the stream ended before the size its headers state"


class _SpoolFullError(Exception):
    """Policy gives the spool no more room."""


class _Taken:
    """A chunk from the stream: it may be written once `before` can be had; then `done` can be."""

    __slots__ = ("before", "done", "filled", "number", "zeros")

    def __init__(self, number: int, filled: int, before: _thread.LockType) -> None:
        self.number = number
        self.filled = filled
        self.zeros = False
        self.before = before
        self.done = _thread.allocate_lock()
        self.done.acquire()


class Copier:
    """Copies one stream into one file descriptor, which it may cut; closes neither."""

    def __init__(self, sink: int, size_max: int, deadline: float, stored_max: int = 2**63) -> None:
        """`size_max` in bytes of input, `stored_max` of output; `deadline` is monotonic time."""
        self._sink = sink
        self._size_max = size_max
        self._deadline = deadline
        self._stored_max = stored_max
        self.result = member.Result()
        self._alone = True
        self._helper = _thread.allocate_lock()  # can be had while no second thread is at work
        self._ended = False  # nothing more is to be taken
        # Guarded by `_taking`.
        self._taking = _thread.allocate_lock()
        self._source = -1
        self._first = b""
        self.prologue = prologue.Prologue()
        self._taken = 0  # bytes of input
        self._chunks = 0
        self._last = _thread.allocate_lock()  # can be had when the last chunk is written
        # Only touched by the thread whose turn it is to write.
        self._failure: str | None = None
        self._dirty = 0  # bytes written since the disk was last started on them

    def copy(self, source: int, first: bytes) -> member.Result:
        """Store `first`, then `source` until it ends or a limit does.

        Never raises for a full or failing disk: what was stored stays, cut to whole members, and
        `result.reason` says why.
        """
        self._source, self._first = source, first
        try:
            self._work()
        finally:
            self._ended = True
            self._helper.acquire()
        result = self.result
        if self._failure:
            self._cut(self._failure)
        elif result.members < self._chunks:
            raise RuntimeError("a thread of this capture has failed")
        if not result.members:
            self._store_nothing()
        self._judge()
        return result

    def _work(self) -> None:
        """Until the stream ends. Both threads are here."""
        chunk = bytearray(member.CHUNK_BYTES)
        while taken := self._take(chunk):
            taken.zeros = taken.filled == len(chunk) and member.is_zeros(chunk)
            try:
                if taken.zeros:
                    data, crc32 = member.of_zeros()
                else:
                    data, crc32 = member.compress(memoryview(chunk)[: taken.filled])
                with taken.before:
                    self._put(taken, data, crc32)
            finally:
                taken.done.release()
            if self._alone and self._taken > _ALONE_BYTES:
                self._start_helper()

    def _start_helper(self) -> None:
        self._alone = False
        self._helper.acquire()
        try:
            _thread.start_new_thread(self._help, ())
        except RuntimeError:
            self._helper.release()  # no thread to be had: alone, then

    def _help(self) -> None:
        try:
            self._work()
        finally:
            self._ended = True
            self._helper.release()

    def _take(self, chunk: bytearray) -> _Taken | None:
        """Fill `chunk` from the stream; None when nothing is left."""
        with self._taking:
            if self._ended:
                return None
            filled = self._fill(memoryview(chunk))
            room = self._size_max - self._taken
            if filled > room:
                filled, self._ended, self.result.reason = room, True, MAX_SIZE
            if not filled:
                return None
            if self.prologue.wants_more:
                self.prologue.feed(memoryview(chunk)[:filled])
            taken = _Taken(self._chunks, filled, self._last)
            self._taken += filled
            self._chunks += 1
            self._last = taken.done
            return taken

    def _fill(self, chunk: memoryview) -> int:
        """Read until `chunk` is full or the stream ends: how far it is filled."""
        first = self._first[: len(chunk)]
        filled = len(first)
        chunk[:filled] = first
        self._first = self._first[filled:]
        poll = select.poll()
        poll.register(self._source, select.POLLIN)
        while filled < len(chunk) and not self._ended:
            left_s = self._deadline - time.monotonic()
            if left_s <= 0 or not poll.poll(left_s * 1000):
                self._ended, self.result.reason = True, TIMEOUT
                break
            try:
                count = os.readv(self._source, [chunk[filled:]])
            except OSError as error:  # a socket's peer can go away; a pipe's cannot
                self._ended, self.result.reason = True, f"the stream failed: {error.strerror}"
                break
            self._ended = self._ended or count == 0
            filled += count
        return filled

    def _put(self, taken: _Taken, data: bytes, crc32: int) -> None:
        """Write the member of `taken`, unless one before it could not be written."""
        if taken.number != self.result.members:
            return
        try:
            self._write(data)
        except _SpoolFullError:
            self._failure, self._ended = SPOOL_FULL, True
        except OSError as error:
            self._failure, self._ended = f"the spool failed: {error.strerror}", True
        else:
            self.result.add(taken.filled, len(data), crc32)
            self.result.sparse_size += taken.filled if taken.zeros else 0

    def _write(self, data: bytes) -> None:
        """Write, and start the disk on what has piled up: the last fsync then finds little left."""
        if self.result.stored_size + len(data) > self._stored_max:
            raise _SpoolFullError
        durable.write_all(self._sink, data)
        self._dirty += len(data)
        if self._dirty >= WRITEBACK_BYTES:
            # posix_fadvise(2): DONTNEED begins write-out of dirty pages and drops only clean ones.
            os.posix_fadvise(self._sink, 0, 0, os.POSIX_FADV_DONTNEED)
            self._dirty = 0

    def _store_nothing(self) -> None:
        """A gzip member of no input: a file that gunzip accepts."""
        data, crc32 = member.compress(b"")
        try:
            durable.write_all(self._sink, data)
        except OSError:
            os.ftruncate(self._sink, 0)  # not even these: the record says storedSize 0
            return
        self.result.add(0, len(data), crc32)

    def _cut(self, reason: str) -> None:
        """Drop the member that could not be written whole. Shrinking a file needs no space."""
        self.result.reason = reason
        os.ftruncate(self._sink, self.result.stored_size)
        os.lseek(self._sink, self.result.stored_size, os.SEEK_SET)

    def _judge(self) -> None:
        result = self.result
        if result.reason is None and result.size == 0:
            result.reason = EMPTY
        elif result.reason is None and self.prologue.is_cut(result.size):
            result.reason = SHORT
