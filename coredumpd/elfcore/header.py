"""The ELF header of a core: elf(5), include/uapi/linux/elf.h. Pure.

Both classes (32 and 64 bit) and both byte orders: a 64-bit kernel dumps 32-bit processes too.
"""

from __future__ import annotations

import struct

MAGIC = b"\x7fELF"
IDENT_BYTES = 16
# e_phnum of a core with more segments than it can count; then `segments.count_of_many` counts.
PN_XNUM = 0xFFFF

_BITS = {1: 32, 2: 64}  # by EI_CLASS
_ORDER = {1: "<", 2: ">"}  # by EI_DATA, as `struct` writes them
_VERSION = 1
_ET_CORE = 4
# After e_ident: e_type, e_machine, e_version, e_entry, e_phoff, e_shoff, e_flags, e_ehsize,
# e_phentsize, e_phnum, e_shentsize, e_shnum, e_shstrndx.
_FIELDS = {32: "HHIIIIIHHHHHH", 64: "HHIQQQIHHHHHH"}
_SIZES = {32: 52, 64: 64}
SEGMENT_BYTES = {32: 32, 64: 56}  # of one program header
_SECTION_BYTES = {32: 40, 64: 64}  # of one section header


class MalformedError(Exception):
    """The bytes are no ELF core; the text names the rule that they break."""


class Header:
    """One core's ELF header."""

    __slots__ = ("bits", "machine", "order", "phnum", "phoff", "shoff")

    bits: int  # 32 or 64
    order: str  # byte order for `struct`, "<" or ">"
    machine: int  # e_machine, such as 62 for x86-64
    phoff: int  # where the program headers begin: behind this header
    phnum: int  # how many there are, or PN_XNUM
    shoff: int  # where section headers begin, 0 without any; with PN_XNUM they end the file

    @property
    def segment_bytes(self) -> int:
        """Bytes of one program header."""
        return SEGMENT_BYTES[self.bits]

    @property
    def end_of_sections(self) -> int:
        """Where a core ends whose last bytes are one section header, as with PN_XNUM."""
        return self.shoff + _SECTION_BYTES[self.bits]


def check_magic(data: bytes | bytearray) -> None:
    """Raises MalformedError unless `data`, 4 bytes or more, begins an ELF file."""
    if data[:4] != MAGIC:
        raise MalformedError("it does not begin as an ELF file")


def size(ident: bytes | bytearray) -> int:
    """Bytes of the header that begins with the 16 bytes `ident`. Raises MalformedError."""
    if ident[4] not in _BITS or ident[5] not in _ORDER or ident[6] != _VERSION:
        raise MalformedError(f"class, byte order or version of ELF: {bytes(ident[4:7]).hex(' ')}")
    return _SIZES[_BITS[ident[4]]]


def parse(data: bytes | bytearray) -> Header:
    """The header at the start of `data`, which has all of it (`size`). Raises MalformedError."""
    header = Header()
    header.bits, header.order = _BITS[data[4]], _ORDER[data[5]]
    fields = struct.unpack_from(header.order + _FIELDS[header.bits], data, IDENT_BYTES)
    type, header.machine, _, _, header.phoff, header.shoff = fields[:6]
    entry_bytes, header.phnum = fields[8:10]
    if type != _ET_CORE:
        raise MalformedError(f"e_type is {type}, not ET_CORE")
    if header.phnum == 0:
        raise MalformedError("it has no program headers")
    if entry_bytes != header.segment_bytes:
        raise MalformedError(f"e_phentsize is {entry_bytes}, not {header.segment_bytes}")
    if header.phoff != _SIZES[header.bits]:
        raise MalformedError(f"e_phoff is {header.phoff}, not {_SIZES[header.bits]}")
    return header
