"""The program headers of a core: elf(5), `elf_core_dump` in fs/binfmt_elf.c. Pure.

The kernel writes the note segment first, then one PT_LOAD for each mapping, in the order in which
their bytes follow; arm64 appends PT_AARCH64_MEMTAG_MTE segments, whose bytes follow the memory.
"""

from __future__ import annotations

import struct

from coredumpd.elfcore import header as headers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

PT_LOAD = 1
PT_NOTE = 4

# 64 bit: p_type, p_flags, p_offset, p_vaddr, p_paddr, p_filesz, p_memsz, p_align; 32 bit has
# p_flags after p_memsz.
_FIELDS = {32: "IIIIIIII", 64: "IIQQQQQQ"}


class Segment:
    """One program header; offsets and sizes in bytes."""

    __slots__ = ("align", "filesz", "flags", "memsz", "offset", "type", "vaddr")

    def __init__(self, fields: tuple[int, ...], bits: int) -> None:
        if bits == 64:
            self.type, self.flags, self.offset, self.vaddr, _, self.filesz, self.memsz, _ = fields
        else:
            self.type, self.offset, self.vaddr, _, self.filesz, self.memsz, self.flags, _ = fields
        self.align = fields[7]


class Table:
    """The program headers of one core, parsed anew by each loop: there may be 299,000."""

    __slots__ = ("_header", "_raw", "data_offset", "end", "notes")

    notes: Segment | None  # the first PT_NOTE that has bytes in the file
    data_offset: int | None  # of the first PT_LOAD that has bytes in the file; None: none has
    end: int  # of the last byte that a program header names

    def __init__(self, header: headers.Header, raw: bytes) -> None:
        """`raw`: the program headers, whole. Raises MalformedError, see `_check`."""
        self._header = header
        self._raw = raw
        self.notes = self.data_offset = None
        self.end = header.phoff + len(raw)
        for number, segment in enumerate(self):
            _check(number, segment, header.bits, self.end)
            if not segment.filesz:
                continue
            self.end = segment.offset + segment.filesz
            if segment.type == PT_NOTE and self.notes is None:
                self.notes = segment
            if segment.type == PT_LOAD and self.data_offset is None:
                self.data_offset = segment.offset

    def __len__(self) -> int:
        return len(self._raw) // self._header.segment_bytes

    def __iter__(self) -> Iterator[Segment]:
        """Each segment, in the order of the file.

        The core of a 32-bit process may be larger than 4 GiB, while its offsets are modulo that:
        they are given as they are meant.
        """
        bits = self._header.bits
        end = 0
        for fields in struct.iter_unpack(self._header.order + _FIELDS[bits], self._raw):
            segment = Segment(fields, bits)
            if end >> bits and segment.offset == end % 2**bits:
                segment.offset = end
            end = segment.offset + segment.filesz
            yield segment


def _check(number: int, segment: Segment, bits: int, floor: int) -> None:
    """Raises MalformedError for a segment whose bytes in the file begin before `floor`, or wrap."""
    if segment.filesz and segment.offset < floor:
        problem = f"its bytes begin at {segment.offset}, before {floor}, where others end"
    elif segment.offset + segment.filesz >= 2**63:
        problem = "its bytes end beyond 2^63"
    elif segment.type == PT_LOAD and segment.filesz > segment.memsz:
        problem = f"it has {segment.filesz} bytes in the file, {segment.memsz} in memory"
    elif segment.type == PT_LOAD and segment.vaddr + segment.memsz > 2**bits:
        problem = f"its memory ends beyond 2^{bits}"
    else:
        return
    raise headers.MalformedError(f"segment {number}: {problem}")


def count_of_many(header: headers.Header, first: bytes) -> int:
    """How many program headers a core with PN_XNUM has. Raises MalformedError.

    elf(5) counts them in the first section header, which the kernel sends last of all. But it also
    places the note segment, the `first` program header's, right behind the program headers.
    """
    fields = struct.unpack(header.order + _FIELDS[header.bits], first)
    segment = Segment(fields, header.bits)
    count, rest = divmod(segment.offset - header.phoff, header.segment_bytes)
    if segment.type != PT_NOTE or rest or count < headers.PN_XNUM:
        raise headers.MalformedError("e_phnum is PN_XNUM, and no notes follow the program headers")
    return count
