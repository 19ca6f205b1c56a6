"""From the core's source to gzip members on disk, at the source's pace and in flat memory.

Several threads do the same work: each takes a chunk from the source, makes a member of it, and
writes that when all before it are written. So one reads or writes while others compress: all of
that gives up the GIL. A small core has one thread.
"""

from __future__ import annotations

import _thread
import os

from coredumpd import durable
from coredumpd.elfcore import prologue
from coredumpd.formats import core_index
from coredumpd.gzipio import member
from coredumpd.spool import capture, room, stream

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    # spool/stream.Stream, or what does the same: handler/memory/source.Source.
    Source = Any

# Of input, before a second thread pays. In a storm of small cores each capture has one: they keep
# the processors busy as it is, and others want them too.
_ALONE_BYTES = 128 * 1024 * 1024
WRITEBACK_BYTES = 8 * 1024 * 1024

# Why a capture ended before the core did; `core.truncated.reason` in the record.
EMPTY, MAX_SIZE, TIMEOUT, SHORT = stream.EMPTY, stream.MAX_SIZE, stream.TIMEOUT, stream.SHORT
RLIMIT = "larger than RLIMIT_CORE"
SPOOL_FULL = capture.SPOOL_FULL
SPOOL_SHARE = "its namespace has its share of the spool (spoolMaxUse)"
DISK_FULL = capture.DISK_FULL
DISK_SHARE = "its namespace has its share of what the spool's disk has free (spoolKeepFree)"


class _SpoolFullError(Exception):
    """Policy gives the spool no more room."""


class _Turn:
    """A chunk's turn to be written: when `before` can be had; then `done` can be."""

    __slots__ = ("before", "chunk", "done", "number")

    def __init__(self, number: int, chunk: stream.Chunk, before: _thread.LockType) -> None:
        self.number = number
        self.chunk = chunk
        self.before = before
        self.done = _thread.allocate_lock()
        self.done.acquire()


class Copier:
    """Copies one source into one file descriptor, which it may cut; closes neither."""

    def __init__(
        self,
        sink: int,
        size_max: int,
        stored_max: int = 2**63,
        journal: int | None = None,
        keep_free: int | None = 0,
    ) -> None:
        """`size_max` in bytes of input, `stored_max` of output.

        `journal`: a new file for the index while it grows; then chunks of zeros are holes, stored
        nowhere, `entries` are the index's, and of memory `size_max` counts what is no hole.
        `keep_free`: bytes of the disk that stay free, whoever else writes meanwhile; see `room`.
        """
        self._sink = sink
        self._size_max = size_max
        self._stored_max = stored_max
        self._journal = journal
        self._keep_free = keep_free
        self.result = member.Result()
        self.entries: list[core_index.Entry] = []
        self._source: Source = None
        self._alone = True
        self._processors = len(os.sched_getaffinity(0))  # asked for here: the sandbox refuses it
        self._helpers: list[_thread.LockType] = []  # each can be had when its thread has ended
        self._ended = False  # nothing more is to be taken
        # Guarded by `_taking`.
        self._taking = _thread.allocate_lock()
        self._taken = 0  # bytes of input
        self._chunks = 0
        self._last = _thread.allocate_lock()  # can be had when the last chunk is written
        # Only touched by the thread whose turn it is to write.
        self._written = 0  # chunks
        self._failure: str | None = None
        self._dirty = 0  # bytes written since the disk was last started on them
        self._journal_size = -1  # of the core, as the journal states it

    @property
    def prologue(self) -> prologue.Prologue:
        """The core's headers and first notes, as far as they came."""
        start: prologue.Prologue = self._source.prologue
        return start

    def copy(self, source: Source) -> member.Result:
        """Store `source` until it ends or a limit does.

        Never raises for a full or failing disk: what was stored stays, cut to whole members, and
        `result.reason` says why.
        """
        self._source = source
        try:
            self._work()
        finally:
            self._end()
            for helper in self._helpers:
                helper.acquire()
        result = self.result
        if self._failure:
            self._cut(self._failure)
        elif self._written < self._chunks:
            raise RuntimeError("a thread of this capture has failed")
        if not result.members:
            self._store_nothing()
        elif source.from_memory and self._journal is not None:
            result.extend(source.size)
        result.sparse_size += result.size - result.data_size
        result.reason = result.reason or source.finish()
        return result

    def _end(self) -> None:
        self._ended = self._source.ended = True

    def _work(self) -> None:
        """Until the source ends. All threads are here."""
        buffer = bytearray(member.CHUNK_BYTES)
        while turn := self._take(buffer):
            try:
                self._compress_and_write(turn, buffer)
            finally:
                turn.done.release()
            if self._alone and self._taken > _ALONE_BYTES:
                self._start_helpers()

    def _compress_and_write(self, turn: _Turn, buffer: bytearray) -> None:
        size = turn.chunk.size
        try:
            self._source.read(turn.chunk, memoryview(buffer))
        except stream.CutError as error:
            with turn.before:
                if turn.number == self._written:
                    self._fail(str(error))
            return
        data, crc32, zeros = b"", 0, 0
        if self._is_hole(turn, buffer):
            if self._source.from_memory:
                with self._taking:
                    self._taken -= size
        elif size == member.CHUNK_BYTES and (turn.chunk.is_zeros or member.is_zeros(buffer)):
            data, crc32 = member.of_zeros()
            zeros = size
        else:
            data, crc32 = member.compress(memoryview(buffer)[:size])
        with turn.before:
            self._put(turn, data, crc32)
            self.result.sparse_size += zeros

    def _is_hole(self, turn: _Turn, buffer: bytearray) -> bool:
        """A chunk of zeros, if there is an index; but the first one, so that there is a member."""
        size = turn.chunk.size
        return (
            self._journal is not None
            and turn.number > 0
            and size % core_index.BLOCK == 0
            and (turn.chunk.is_zeros or member.is_zeros(buffer, size))
        )

    def _start_helpers(self) -> None:
        self._alone = False
        for _ in range(min(self._source.threads_max, self._processors) - 1):
            helper = _thread.allocate_lock()
            helper.acquire()
            try:
                _thread.start_new_thread(self._help, (helper,))
            except RuntimeError:
                return  # no thread to be had: without it, then
            self._helpers.append(helper)

    def _help(self, helper: _thread.LockType) -> None:
        try:
            self._work()
        finally:
            self._end()
            helper.release()

    def _take(self, buffer: bytearray) -> _Turn | None:
        """The next chunk of the source; None when nothing is left."""
        with self._taking:
            if self._ended:
                return None
            chunk = self._source.take(memoryview(buffer), self._size_max - self._taken)
            self._ended = self._ended or self._source.ended
            if chunk is None:
                return None
            turn = _Turn(self._chunks, chunk, self._last)
            self._taken += chunk.size
            self._chunks += 1
            self._last = turn.done
            return turn

    def _put(self, turn: _Turn, data: bytes, crc32: int) -> None:
        """Write the member of a chunk, unless one before it could not be written."""
        if turn.number != self._written:
            return
        chunk, result = turn.chunk, self.result
        entry = (chunk.offset, chunk.size, result.stored_size, len(data))
        try:
            if data:
                self._write(data)
                self._note(entry)
        except _SpoolFullError as error:
            self._fail(str(error))
            return
        except OSError as error:
            self._fail(f"the spool failed: {error.strerror}")
            return
        if data:
            result.place(chunk.offset, chunk.size, len(data), crc32)
        else:
            result.extend(chunk.offset + chunk.size)
        self._written += 1

    def _fail(self, reason: str) -> None:
        self._failure = reason
        self._end()

    def _write(self, data: bytes) -> None:
        """Write, and start the disk on what has piled up: the last fsync then finds little left."""
        if self.result.stored_size + len(data) > self._stored_max:
            raise _SpoolFullError(SPOOL_FULL)
        durable.write_all(self._sink, data)
        self._dirty += len(data)
        if self._dirty >= WRITEBACK_BYTES:
            # posix_fadvise(2): DONTNEED begins write-out of dirty pages and drops only clean ones.
            os.posix_fadvise(self._sink, 0, 0, os.POSIX_FADV_DONTNEED)
            self._dirty = 0
            if room.left(os.fstatvfs(self._sink), self._keep_free) < 0:
                raise _SpoolFullError(DISK_FULL)

    def _note(self, entry: core_index.Entry) -> None:
        """Append a member that is written to the journal."""
        if self._journal is None:
            return
        size = self._source.size if self._source.from_memory else 0
        if size != self._journal_size:
            os.lseek(self._journal, 0, os.SEEK_SET)
            durable.write_all(self._journal, core_index.header(size))
            os.lseek(self._journal, 0, os.SEEK_END)
            self._journal_size = size
        durable.write_all(self._journal, core_index.entry(*entry))
        self.entries.append(entry)

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
