"""All that precedes the memory in a core, from its stream: bounded, and never an exception.

The kernel writes headers first, then notes, then the memory, and the core ends where the last
segment does (`elf_core_dump` in fs/binfmt_elf.c): so the first bytes say whether the last ones are
missing.
"""

from __future__ import annotations

from coredumpd.elfcore import header as headers
from coredumpd.elfcore import segments as tables

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

# Program headers end within so many bytes: 299,000 segments of 64 bits.
HEADERS_BYTES_MAX = 16 * 1024 * 1024
# Of the notes. Those of the process follow the first thread's; NT_FILE may be longer, and after it
# come 3 to 11 kB for each further thread.
NOTES_BYTES_MAX = 64 * 1024


class Prologue:
    """Feed it the stream from the start until `wants_more` is false. Keeps at most 16 MiB.

    `segments.data_offset` is where the prologue ends and the memory begins.
    """

    __slots__ = ("_head", "_needed", "_steps", "header", "notes", "problem", "segments", "size")

    header: headers.Header | None
    segments: tables.Table | None  # None: not known yet, malformed, or more than 16 MiB of them
    notes: bytes  # the beginning of the first note segment
    size: int | None  # bytes of the core by its headers; None while they are not known
    problem: str | None  # the rule that the headers break; then no header is believed

    def __init__(self) -> None:
        self.header = self.segments = self.size = self.problem = None
        self.notes = b""
        self._head = bytearray()
        self._steps: Iterator[int] | None = self._parse()
        self._needed = next(self._steps)

    @property
    def wants_more(self) -> bool:
        """Is the next piece of the stream still of use?"""
        return self._steps is not None

    def feed(self, chunk: bytes | memoryview) -> None:
        """Take the next piece of the stream, cut anywhere; keep the part that is needed."""
        rest = memoryview(chunk)
        while self._steps is not None:
            piece = rest[: self._needed - len(self._head)]
            self._head += piece
            rest = rest[len(piece) :]
            if len(self._head) < self._needed:
                return
            try:
                self._needed = next(self._steps)
            except StopIteration:
                self._end()
            except headers.MalformedError as error:
                self.header = self.segments = self.size = None
                self.problem = str(error)
                self._end()

    def is_cut(self, size: int) -> bool:
        """Does a core that ends after `size` bytes, all fed, end before its headers say?"""
        return size < (self._needed if self.size is None else self.size)

    def _end(self) -> None:
        self._steps = None
        self._head = bytearray()

    def _parse(self) -> Iterator[int]:
        """Yield how many bytes the next step needs, counted from the start of the stream."""
        head = self._head
        yield len(headers.MAGIC)
        headers.check_magic(head)
        yield headers.IDENT_BYTES
        yield headers.size(head)
        header = self.header = headers.parse(head)
        count, start = header.phnum, header.phoff
        if count == headers.PN_XNUM:
            yield start + header.segment_bytes
            count = tables.count_of_many(header, bytes(head[start:]))
            self.size = header.end_of_sections
        end = start + count * header.segment_bytes
        if end > HEADERS_BYTES_MAX:
            return  # too many to keep, but the size is known
        yield end
        with memoryview(head) as view:
            table = self.segments = tables.Table(header, bytes(view[start:end]))
        self.size = max(table.end, self.size or 0)
        if table.notes is None or table.notes.offset > HEADERS_BYTES_MAX:
            return
        first = table.notes.offset
        last = first + min(table.notes.filesz, NOTES_BYTES_MAX)
        yield last
        self.notes = bytes(head[first:last])
