"""The order in which a core's memory is read: first the part without which nothing can be seen.

So a capture that is cut is still a backtrace. Each thread's stack comes first, from its stack
pointer on, then the data of modules, and then the rest, which is the heap. Pure.

Tested in: tests/unit/handler/memory/test_plan.py
"""

from __future__ import annotations

from coredumpd.elfcore import notes as elf_notes
from coredumpd.elfcore import segments as elf_segments

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from coredumpd.elfcore import header as elf_header
    from coredumpd.handler.memory import mappings as maps

    # Bytes: offset in the core, address, length.
    Part = tuple[int, int, int]

PAGE_BYTES = 4096  # the smallest of any machine
STACKS_MAX = 4096
STACK_BYTES_MAX = 1024 * 1024
MODULES_MAX = 4096
MODULE_BYTES_MAX = 16 * 1024 * 1024
BSS_BYTES_MAX = 1024 * 1024
_RED_ZONE_BYTES = 128  # below the stack pointer, of x86-64 and arm64: in use all the same
# By e_machine and bits: where struct elf_prstatus has the stack pointer.
_STACK_POINTERS = {
    (62, 64): 112 + 19 * 8,  # x86-64: rsp in struct user_regs_struct
    (183, 64): 112 + 31 * 8,  # arm64: sp in struct user_pt_regs
    (3, 32): 72 + 15 * 4,  # i386: esp
    (40, 32): 72 + 13 * 4,  # arm: r13
}


def stack_pointers(header: elf_header.Header, notes: bytes) -> list[int]:
    """Of each thread, the one that crashed first, as far as `notes` has them; at most 4096."""
    at = _STACK_POINTERS.get((header.machine, header.bits))
    pointers: list[int] = []
    if at is None:
        return pointers
    little = header.order == "<"
    for note in elf_notes.each(header, notes):
        if note.type == elf_notes.NT_PRSTATUS and note.name == b"CORE":
            word = note.desc[at : at + header.bits // 8]
            pointers.append(int.from_bytes(word, "little" if little else "big"))
            if len(pointers) == STACKS_MAX:
                break
    return pointers


def groups(
    segments: elf_segments.Table, mappings: maps.Mappings, pointers: list[int]
) -> Iterator[Iterable[Part]]:
    """All the memory of `segments`, each byte once: of stacks, of modules, and the rest.

    Each of the three is in the core's order.
    """
    stacks = _merged(_stacks(segments, pointers))
    modules = list(_without(_merged(_modules(segments, mappings)), stacks))
    yield stacks
    yield modules
    yield _without(every(segments), _merged([*stacks, *modules]))


def every(segments: Iterable[elf_segments.Segment]) -> Iterator[Part]:
    """All the memory, in the core's order."""
    for segment in segments:
        if segment.type == elf_segments.PT_LOAD and segment.filesz:
            yield segment.offset, segment.vaddr, segment.filesz


def _stacks(segments: Iterable[elf_segments.Segment], pointers: list[int]) -> list[Part]:
    """From each stack pointer to the end of its mapping, or for STACK_BYTES_MAX."""
    parts: list[Part] = []
    remaining = sorted(pointers)
    if not remaining:
        return parts
    for offset, address, size in every(segments):
        end = address + size
        for pointer in _between(remaining, address, end):
            start = max(address, (pointer - _RED_ZONE_BYTES) & -PAGE_BYTES)
            parts.append((offset + start - address, start, min(end - start, STACK_BYTES_MAX)))
    return parts


def _between(numbers: list[int], start: int, end: int) -> list[int]:
    """Of sorted numbers, those from `start` to `end`, exclusive."""
    low, high = 0, len(numbers)
    while low < high:
        middle = (low + high) // 2
        if numbers[middle] < start:
            low = middle + 1
        else:
            high = middle
    last = low
    while last < len(numbers) and numbers[last] < end:
        last += 1
    return numbers[low:last]


def _modules(segments: Iterable[elf_segments.Segment], mappings: maps.Mappings) -> list[Part]:
    """Private mappings of files, and the anonymous one right behind such a one: its .bss."""
    parts: list[Part] = []
    end_of_module = -1
    for offset, address, size in every(segments):
        if len(parts) >= MODULES_MAX:
            break
        inside = next(iter(mappings.modules.within(address, address + size)), None)
        if inside is not None:
            parts.append((offset, address, min(size, MODULE_BYTES_MAX)))
            end_of_module = address + size
        elif address == end_of_module:
            parts.append((offset, address, min(size, BSS_BYTES_MAX)))
    return parts


def _merged(parts: list[Part]) -> list[Part]:
    """In the order of the core, none overlapping another."""
    merged: list[Part] = []
    for offset, address, size in sorted(parts):
        if merged:
            before, _, length = merged[-1]
            overlap = before + length - offset
            if overlap > 0:
                offset, address, size = offset + overlap, address + overlap, size - overlap
        if size > 0:
            merged.append((offset, address, size))
    return merged


def _without(parts: Iterable[Part], removed: list[Part]) -> Iterator[Part]:
    """`parts` without the bytes of `removed`; both in the core's order."""
    number = 0
    for offset, address, size in parts:
        end = offset + size
        while number < len(removed) and removed[number][0] + removed[number][2] <= offset:
            number += 1
        at, later = offset, number
        while later < len(removed) and removed[later][0] < end:
            first, _, length = removed[later]
            if first > at:
                yield at, address + at - offset, first - at
            at = max(at, first + length)
            later += 1
        if at < end:
            yield at, address + at - offset, end - at
