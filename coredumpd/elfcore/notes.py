"""The notes of a core: core(5), include/uapi/linux/elfcore.h, `write_note_info` in fs/binfmt_elf.c.

The kernel writes those of the thread that crashed first: NT_PRSTATUS, then of the process
NT_PRPSINFO, NT_SIGINFO, NT_AUXV and NT_FILE, then the thread's other registers. Pure.
"""

from __future__ import annotations

import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from coredumpd.elfcore import header as headers

NT_PRSTATUS = 1
NT_PRPSINFO = 3
NT_AUXV = 6
NT_SIGINFO = 0x53494749  # "SIGI"
NT_FILE = 0x46494C45  # "FILE"
_OF_CORES = b"CORE"  # the owner of all of these numbers
_HEAD_BYTES = 12  # n_namesz, n_descsz, n_type

# By e_machine: (where pr_reg begins in struct elf_prstatus, which register is the program counter).
_PROGRAM_COUNTERS = {
    (62, 64): (112, 16),  # x86-64: rip in struct user_regs_struct
    (3, 32): (72, 12),  # i386: eip
    (183, 64): (112, 32),  # arm64: pc in struct user_pt_regs
    (40, 32): (72, 15),  # arm: r15
}
# Its siginfo has si_errno and si_code in the other order.
_EM_MIPS = 8

# Signals whose siginfo has si_addr, the address of the fault or of the instruction: sigaction(2).
_SIGILL, _SIGTRAP, _SIGBUS, _SIGFPE, _SIGSEGV = 4, 5, 7, 8, 11
_WITH_ADDRESS = (_SIGILL, _SIGTRAP, _SIGBUS, _SIGFPE, _SIGSEGV)
SI_KERNEL = 0x80  # sent by the kernel, which knows no address, as for one that is not canonical


class Note:
    """One note: its owner's name without the NUL, its type, its content."""

    __slots__ = ("desc", "name", "type")

    def __init__(self, name: bytes, type: int, desc: bytes) -> None:
        self.name = name
        self.type = type
        self.desc = desc


class Fault:
    """The facts about a crash that only its core has; None for one that is not known."""

    __slots__ = ("address", "code", "pc", "signal")

    def __init__(self) -> None:
        self.signal: int | None = None  # si_signo
        self.code: int | None = None  # si_code
        self.address: int | None = None  # si_addr: what could not be read, written or executed
        self.pc: int | None = None  # the program counter of the thread that crashed


def each(header: headers.Header, data: bytes) -> Iterator[Note]:
    """The notes in `data`, the beginning of a note segment, as far as it has them whole."""
    at = 0
    while at + _HEAD_BYTES <= len(data):
        name_bytes, desc_bytes, type = struct.unpack_from(header.order + "III", data, at)
        name_at = at + _HEAD_BYTES
        desc_at = name_at + _aligned(name_bytes)
        end = desc_at + desc_bytes
        if end > len(data):
            return
        name = data[name_at : name_at + name_bytes].rstrip(b"\0")
        yield Note(name, type, data[desc_at:end])
        at = desc_at + _aligned(desc_bytes)


def fault(header: headers.Header, data: bytes) -> Fault:
    """The facts in the first notes of `data`, the beginning of a note segment."""
    facts = Fault()
    seen = set()
    for note in each(header, data):
        if note.name != _OF_CORES or note.type in seen:
            continue
        seen.add(note.type)
        if note.type == NT_PRSTATUS:
            facts.pc = _program_counter(header, note.desc)
        elif note.type == NT_SIGINFO:
            _read_siginfo(facts, header, note.desc)
        if {NT_PRSTATUS, NT_SIGINFO} <= seen:
            break
    return facts


def _program_counter(header: headers.Header, status: bytes) -> int | None:
    place = _PROGRAM_COUNTERS.get((header.machine, header.bits))
    if place is None:
        return None
    registers, index = place
    return _word(header, status, registers + index * header.bits // 8)


def _read_siginfo(facts: Fault, header: headers.Header, siginfo: bytes) -> None:
    """From siginfo_t: three integers, then, aligned as a pointer is, what the signal brings."""
    if len(siginfo) < _HEAD_BYTES or header.machine == _EM_MIPS:
        return
    facts.signal, _, code = struct.unpack_from(header.order + "iii", siginfo)
    facts.code = code
    # Of a signal that a process has sent (0 and below), the sender is in the same place.
    if facts.signal in _WITH_ADDRESS and code > 0 and code != SI_KERNEL:
        facts.address = _word(header, siginfo, 16 if header.bits == 64 else 12)


def _word(header: headers.Header, data: bytes, at: int) -> int | None:
    """The unsigned integer of a pointer's width at `at`; None when `data` is shorter."""
    if at + header.bits // 8 > len(data):
        return None
    kind = "Q" if header.bits == 64 else "I"
    value: int = struct.unpack_from(header.order + kind, data, at)[0]
    return value


def _aligned(size: int) -> int:
    return (size + 3) & ~3
