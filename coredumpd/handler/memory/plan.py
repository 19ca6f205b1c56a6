"""The parts of a core that are read from memory, as chunks of one gzip member each.

Pure, but for the question that `populated` asks.
"""

from __future__ import annotations

import struct

from coredumpd.elfcore import header as elf_header
from coredumpd.elfcore import segments as elf_segments
from coredumpd.handler.memory import order

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from coredumpd.handler.memory import mappings as maps
    from coredumpd.handler.memory.order import Part

    Populated = Callable[[int, int], Iterable[tuple[int, int]]]

# A hole that is shorter is stored, as zeros: each member costs time, and a line of the index.
HOLE_BYTES_MIN = 64 * 1024
# After so many chunks a stored hole may be twice as long, and again: no process makes a long index.
CHUNKS_PER_STEP = 16 * 1024


class Chunk:
    """A part of the core that becomes one member: at most as long as the reader's buffer."""

    __slots__ = ("literal", "offset", "pieces", "size")

    def __init__(self, offset: int, literal: bytes = b"") -> None:
        self.offset = offset  # in the core
        self.size = len(literal)
        self.pieces: list[Part] = []  # their first number counts from the chunk's start
        self.literal = literal  # bytes that are in no memory, after the pieces

    @property
    def is_zeros(self) -> bool:
        """Is it zeros for sure, without a look at the memory?"""
        return not self.pieces and not self.literal

    def cut(self, size: int) -> None:
        """Keep the first `size` bytes."""
        self.size = size
        self.pieces = [
            (at, address, min(length, size - at))
            for at, address, length in self.pieces
            if at < size
        ]
        self.literal = b""


def chunks(
    segments: elf_segments.Table,
    mappings: maps.Mappings,
    populated: Populated,
    pointers: list[int],
    chunk_bytes: int,
    tail: bytes = b"",
) -> Iterator[Chunk]:
    """All the memory of `segments`, which may be iterated again, in the order of its value.

    `tail` follows the memory in the core.

    `populated` gives the parts of a range of addresses that are not zeros for sure, as
    `pages.Pagemap.populated` does.
    """
    packer = _Packer(chunk_bytes)
    for group in order.groups(segments, mappings, pointers):
        for part in group:
            yield from packer.begin(part)
            for data in _data(part, mappings, populated):
                yield from packer.add(data)
        yield from packer.flush()
    if tail:
        yield Chunk(segments.end, tail)


def whole(
    segments: elf_segments.Table,
    mappings: maps.Mappings,
    populated: Populated,
    start: int,
    chunk_bytes: int,
    tail: bytes = b"",
) -> Iterator[Chunk]:
    """All the memory of `segments` and its holes, in the core's order, from `start` of the core on.

    All chunks but the last of the memory have `chunk_bytes`; one that is a hole has no pieces.
    """
    chunk = Chunk(start)
    for part in order.every(segments):
        for offset, address, size in _data(part, mappings, populated):
            while size:
                while offset >= chunk.offset + chunk_bytes:
                    chunk.size = chunk_bytes
                    yield chunk
                    chunk = Chunk(chunk.offset + chunk_bytes)
                at = offset - chunk.offset
                length = min(size, chunk_bytes - at)
                chunk.pieces.append((at, address, length))
                offset, address, size = offset + length, address + length, size - length
    while chunk.offset < segments.end:
        chunk.size = min(chunk_bytes, segments.end - chunk.offset)
        yield chunk
        chunk = Chunk(chunk.offset + chunk.size)
    if tail:
        yield Chunk(segments.end, tail)


def tail(header: elf_header.Header, table: elf_segments.Table, core_size: int) -> bytes | None:
    """The bytes behind the memory in a core of `core_size` bytes; None for what is not known here.

    With PN_XNUM segments or more it is a section header (`fill_extnum_info` in fs/binfmt_elf.c):
    one section, and the number of segments.
    """
    if core_size == table.end:
        return b""
    if header.phnum != elf_header.PN_XNUM or header.shoff != table.end:
        return None
    fields = "32xQIIQQ" if header.bits == 64 else "20xIIIII"
    return struct.pack(header.order + fields, 1, 0, len(table), 0, 0)


def _data(part: Part, mappings: maps.Mappings, populated: Populated) -> Iterator[Part]:
    """`part` without its holes."""
    offset, address, size = part
    at, end = address, address + size
    for first, last in mappings.anonymous.within(address, end):
        if first > at:
            yield offset + at - address, at, first - at
        for start, stop in populated(first, last):
            yield offset + start - address, start, stop - start
        at = last
    if at < end:
        yield offset + at - address, at, end - at


class _Packer:
    """Parts in, chunks out: long parts are split, and parts near each other share a chunk."""

    def __init__(self, chunk_bytes: int) -> None:
        self._chunk_bytes = chunk_bytes
        self._chunk: Chunk | None = None
        self._count = 0
        self._end = -1  # of the part that has begun

    def begin(self, part: Part) -> Iterator[Chunk]:
        """Data of `part` comes next. What lies between it and the part before is no hole."""
        if part[0] != self._end:
            yield from self.flush()
        self._end = part[0] + part[2]

    def add(self, part: Part) -> Iterator[Chunk]:
        """The next part, in the core's order: the chunks that are full by it."""
        offset, address, size = part
        while size:
            chunk = self._chunk
            if chunk is None or not self._is_near(chunk, offset):
                yield from self.flush()
                chunk = self._chunk = Chunk(offset)
            at = offset - chunk.offset
            length = min(size, self._chunk_bytes - at)
            chunk.pieces.append((at, address, length))
            chunk.size = at + length
            offset, address, size = offset + length, address + length, size - length
            if chunk.size == self._chunk_bytes:
                yield from self.flush()

    def flush(self) -> Iterator[Chunk]:
        """The chunk that is not full yet."""
        chunk, self._chunk = self._chunk, None
        if chunk is not None:
            self._count += 1
            yield chunk

    def _is_near(self, chunk: Chunk, offset: int) -> bool:
        hole = offset - chunk.offset - chunk.size
        shortest = HOLE_BYTES_MIN << self._count // CHUNKS_PER_STEP
        return hole < shortest and offset - chunk.offset < self._chunk_bytes
