"""A source of a core: headers and notes from the kernel's stream, the memory from the process.

The stream is read exactly as far as the memory begins. So until the first byte of memory was read,
and whatever keeps that from being possible, the rest can come from the stream as well, and
`fallback` says why it does.
"""

from __future__ import annotations

import time

from coredumpd.elfcore import prologue as prologues
from coredumpd.elfcore import segments as elf_segments
from coredumpd.gzipio import member
from coredumpd.handler.memory import access, order, plan
from coredumpd.spool import stream

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from coredumpd.handler.memory import mappings as maps

THREADS_MAX = 8
# Of less memory most is in the pipe before its handler has started.
MEMORY_BYTES_MIN = 4 * 1024 * 1024
NOTES_BYTES_MAX = 8 * 1024 * 1024  # that are kept, for the stacks: of 2000 threads or so
BLOCK_BYTES = 512  # a hole begins at a multiple
# Why a core came from the stream; `capture.sourceReason` in the record.
SMALL = "it is small"
NO_CORE = "its headers are not those of a core"
FOREIGN = "it holds more than notes and memory"
PROTECTED = "the kernel gives no access to protected memory"
GONE = "its memory is gone"
# Why a capture ended before the core did.
KILLED = "the process was killed while its memory was read"


class _StreamError(Exception):
    """The memory comes from the stream; the text says why."""


class Source:
    """As spool/stream.Stream, but that `read` does the work, for several threads at once."""

    def __init__(
        self, kernel: stream.Stream, memory: access.Memory, has_index: bool = False
    ) -> None:
        """`has_index`: parts of the core may come in any order, and holes not at all."""
        self._has_index = has_index
        self._stream = kernel
        self._memory = memory
        self._notes = bytearray()
        self._plan: Iterator[plan.Chunk] | None = None
        self._size = 0
        self._reason: str | None = None
        self.fallback: str | None = None
        self.ended = False

    @property
    def from_memory(self) -> bool:
        """Does the memory come from the process?"""
        return self._plan is not None

    @property
    def threads_max(self) -> int:
        """More threads than that have nothing to do."""
        return THREADS_MAX if self.from_memory else self._stream.threads_max

    @property
    def prologue(self) -> prologues.Prologue:
        """The core's headers and first notes, as far as they came."""
        return self._stream.prologue

    @property
    def size(self) -> int:
        """Bytes of the core, as far as they are known."""
        return self._size or self._stream.position

    def take(self, buffer: memoryview, room: int) -> stream.Chunk | plan.Chunk | None:
        """The next chunk, whose bytes `read` puts into `buffer`; None when nothing is left.

        At most `room` bytes of it; if there are more, that is the end, and the reason is MAX_SIZE.
        """
        chunk: stream.Chunk | plan.Chunk | None = None
        if self._plan is None and self.fallback is None:
            try:
                chunk = self._take_prologue(buffer, room)
            except _StreamError as error:
                self.fallback = str(error)
        if chunk is None and self._plan is not None:
            chunk = self._take_memory(room)
        elif chunk is None:
            chunk = self._stream.take(buffer, room)
        self.ended = self.ended or self._stream.ended
        return chunk

    def read(self, chunk: stream.Chunk | plan.Chunk, buffer: memoryview) -> None:
        """Put the bytes of `chunk` at the start of `buffer`. Raises CutError."""
        if isinstance(chunk, stream.Chunk):
            return
        if chunk.is_zeros and chunk.size == member.CHUNK_BYTES:
            return  # nobody looks at the buffer
        filled = 0
        try:
            for at, address, size in chunk.pieces:
                if at > filled:
                    buffer[filled:at] = bytes(at - filled)
                self._memory.read(address, buffer[at : at + size])
                filled = at + size
        except access.GoneError as error:
            raise stream.CutError(KILLED) from error
        except OSError as error:
            raise stream.CutError(f"its memory cannot be read: {error.strerror}") from error
        end = chunk.size - len(chunk.literal)
        buffer[filled:end] = bytes(end - filled)
        buffer[end : chunk.size] = chunk.literal

    def finish(self) -> str | None:
        """Nothing more is taken: why the core is cut; None: it is whole."""
        return self._reason if self.from_memory else self._stream.finish()

    def _take_prologue(self, buffer: memoryview, room: int) -> stream.Chunk | None:
        """The next bytes before the memory; None where that begins. Raises _StreamError."""
        kernel = self._stream
        if kernel.prologue.wants_more:
            kernel.look_ahead()
        table = kernel.prologue.segments
        if table is None or table.data_offset is None:
            raise _StreamError(NO_CORE)
        if kernel.position >= table.data_offset:
            self._begin_memory(table)
            return None
        chunk = kernel.take(buffer[: table.data_offset - kernel.position], room)
        if chunk is not None and table.notes is not None:
            first = max(0, table.notes.offset - chunk.offset)
            last = table.notes.offset + min(table.notes.filesz, NOTES_BYTES_MAX) - chunk.offset
            self._notes += buffer[first : max(first, min(last, chunk.size))]
        return chunk

    def _begin_memory(self, table: elf_segments.Table) -> None:
        prologue = self._stream.prologue
        header = prologue.header
        if header is None or prologue.size is None:
            raise _StreamError(NO_CORE)
        _check(table)
        tail = plan.tail(header, table, prologue.size)
        if tail is None:
            raise _StreamError(FOREIGN)
        if table.end - self._stream.position < MEMORY_BYTES_MIN:
            raise _StreamError(SMALL)
        try:
            mappings = self._memory.mappings()
            self._probe(table, mappings)
        except (access.GoneError, ProcessLookupError) as error:
            raise _StreamError(GONE) from error
        except OSError as error:
            raise _StreamError(f"its memory cannot be read: {error.strerror}") from error
        self._size = prologue.size
        populated, chunk_bytes = self._memory.pages.populated, member.CHUNK_BYTES
        if self._has_index:
            pointers = order.stack_pointers(header, bytes(self._notes))
            self._plan = plan.chunks(table, mappings, populated, pointers, chunk_bytes, tail)
        else:
            start = self._stream.position
            self._plan = plan.whole(table, mappings, populated, start, chunk_bytes, tail)
        self._notes = bytearray()

    def _probe(self, table: elf_segments.Table, mappings: maps.Mappings) -> None:
        """Raises OSError where memory cannot be read, _StreamError for what the kernel protects."""
        parts = (
            part
            for segment in table
            if segment.type == elf_segments.PT_LOAD
            for part in mappings.anonymous.within(segment.vaddr, segment.vaddr + segment.filesz)
        )
        address = next(self._populated(parts), None)
        if address is not None:
            self._memory.probe(address)
        for address in self._populated(iter(mappings.protected)):
            try:
                self._memory.probe(address)
            except OSError as error:
                raise _StreamError(PROTECTED) from error

    def _populated(self, ranges: Iterator[tuple[int, int]]) -> Iterator[int]:
        """Of each of these ranges that is not empty, the first page with content."""
        for start, end in ranges:
            for first, _ in self._memory.pages.populated(start, end):
                yield first
                break

    def _take_memory(self, room: int) -> plan.Chunk | None:
        if self.ended or self._plan is None:
            return None
        if time.monotonic() > self._stream.deadline:
            self.ended, self._reason = True, stream.TIMEOUT
            return None
        chunk = None
        try:
            chunk = next(self._plan, None)
            if chunk is None:
                self._memory.check_life()
        except (access.GoneError, ProcessLookupError):
            self._reason = KILLED
        except OSError as error:
            self._reason = f"its memory cannot be read: {error.strerror}"
        if chunk is None:
            self.ended = True
        elif chunk.size > room:
            self.ended, self._reason = True, stream.MAX_SIZE
            chunk.cut(room // BLOCK_BYTES * BLOCK_BYTES if self._has_index else room)
            return chunk if chunk.size else None
        return chunk


def _check(table: elf_segments.Table) -> None:
    """Raises _StreamError unless pages of memory follow one another, and nothing else."""
    end = table.data_offset
    for number, segment in enumerate(table):
        if segment.type == elf_segments.PT_NOTE and number == 0:
            continue
        if segment.type != elf_segments.PT_LOAD and segment.filesz:
            raise _StreamError(FOREIGN)
        if segment.filesz and segment.offset != end:
            raise _StreamError(NO_CORE)
        if (segment.offset | segment.filesz | segment.vaddr) % order.PAGE_BYTES:
            raise _StreamError(NO_CORE)
        end = segment.offset + segment.filesz if segment.filesz else end
