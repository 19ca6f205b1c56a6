"""Cores made by hand: as small as a test wants, with headers that are true."""

from __future__ import annotations

import random
import struct
from collections.abc import Sequence

PAGE_BYTES = 4096
LOAD, NOTE = 1, 4  # p_type
X86_64 = 62  # e_machine
PN_XNUM = 0xFFFF

# elf(5), by class: EI_CLASS, bytes and fields of the header after e_ident, the same of a program
# header, bytes of a section header.
_CLASSES = {
    32: (1, 52, "HHIIIIIHHHHHH", 32, "IIIIIIII", 40),
    64: (2, 64, "HHIQQQIHHHHHH", 56, "IIQQQQQQ", 64),
}


def elf(size: int, seed: int = 0) -> bytes:
    """A core of `size` bytes (at least 4096): one LOAD segment of noise."""
    start = header(1) + segment(LOAD, PAGE_BYTES, size - PAGE_BYTES)
    return start.ljust(PAGE_BYTES, b"\0") + random.Random(seed).randbytes(size - PAGE_BYTES)


def written(
    sizes: Sequence[int],
    notes: bytes = b"",
    bits: int = 64,
    order: str = "<",
    machine: int = X86_64,
) -> bytes:
    """A core as the kernel lays it out: one mapping for each of `sizes`, in bytes, all noise.

    With `bits` (32 or 64) and byte `order` ("<" or ">"); more than 65,534 segments make PN_XNUM.
    """
    _, header_bytes, _, segment_bytes, _, section_bytes = _CLASSES[bits]
    count = len(sizes) + 1
    notes_at = header_bytes + count * segment_bytes
    rows = [segment(NOTE, notes_at, len(notes), 0, 0, bits=bits, order=order)]
    at = data_at = -(-(notes_at + len(notes)) // PAGE_BYTES) * PAGE_BYTES
    address = 0x10000
    for size in sizes:
        rows.append(segment(LOAD, at, size, address, bits=bits, order=order))
        at += size
        address += max(size, PAGE_BYTES)
    many = count >= PN_XNUM
    start = header(min(count, PN_XNUM), bits, order, machine, at if many else 0)
    prologue = (start + b"".join(rows) + notes).ljust(data_at, b"\0")
    sections = bytes(section_bytes) if many else b""
    return prologue + random.Random(1).randbytes(at - data_at) + sections


def header(
    count: int, bits: int = 64, order: str = "<", machine: int = X86_64, sections_at: int = 0
) -> bytes:
    """The ELF header of a core with `count` program headers."""
    kind, header_bytes, fields, segment_bytes, _, section_bytes = _CLASSES[bits]
    ident = b"\x7fELF" + bytes([kind, 1 if order == "<" else 2, 1]) + bytes(9)
    values = (4, machine, 1, 0, header_bytes, sections_at, 0)
    sizes = (header_bytes, segment_bytes, count, section_bytes, int(sections_at > 0), 0)
    return ident + struct.pack(order + fields, *values, *sizes)


def segment(
    kind: int,
    offset: int,
    size: int,
    address: int = 0,
    memory: int | None = None,
    bits: int = 64,
    order: str = "<",
) -> bytes:
    """A program header: `size` bytes in the file; in memory as many, or `memory`."""
    places = (offset, address, 0, size, size if memory is None else memory)
    values = (kind, 6, *places, 4096) if bits == 64 else (kind, *places, 6, 4096)
    return struct.pack(order + _CLASSES[bits][4], *values)


def note(kind: int, desc: bytes, name: bytes = b"CORE", order: str = "<") -> bytes:
    """One note of type `kind`."""
    padded = [part + bytes(-len(part) % 4) for part in (name + b"\0", desc)]
    return struct.pack(order + "III", len(name) + 1, len(desc), kind) + b"".join(padded)


def siginfo(signal: int, code: int, address: int, bits: int = 64, order: str = "<") -> bytes:
    """The NT_SIGINFO note of a fault."""
    head = struct.pack(order + "iii", signal, 0, code)
    place = struct.pack(order + ("4xQ" if bits == 64 else "I"), address)
    return note(0x53494749, (head + place).ljust(128, b"\0"), order=order)


def prstatus(
    registers_at: int, registers: Sequence[int], bits: int = 64, order: str = "<"
) -> bytes:
    """The NT_PRSTATUS note of a thread with these registers, which begin at `registers_at`."""
    values = struct.pack(f"{order}{len(registers)}{'Q' if bits == 64 else 'I'}", *registers)
    return note(1, bytes(registers_at) + values + bytes(8), order=order)
