"""The chunks of a core's memory: all of it once, holes left out, the most valuable first."""

from __future__ import annotations

import struct
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coredumpd.elfcore import header as headers
from coredumpd.elfcore import segments as tables
from coredumpd.handler.memory import mappings, order, plan

PAGE = 4096
CHUNK = 1 << 20
START = 0x10000  # of the memory in the core


def table(*parts: tuple[int, int]) -> tables.Table:
    """Segments at these addresses, of so many pages, one behind the other in the core."""
    raw = b""
    offset = START
    for address, pages in parts:
        size = pages * PAGE
        raw += struct.pack("<IIQQQQQQ", 1, 6, offset, address, 0, size, size, PAGE)
        offset += size
    return tables.Table(header(len(parts)), raw)


def header(count: int = 1) -> headers.Header:
    made = headers.Header()
    made.bits, made.order, made.machine = 64, "<", 62
    made.phoff, made.phnum, made.shoff = 64, count, 0
    return made


def mapped(*parts: tuple[int, int], module: tuple[tuple[int, int], ...] = ()) -> mappings.Mappings:
    """Private anonymous mappings at these addresses, of so many pages; `module` ones of files."""
    made = mappings.Mappings()
    for address, pages in sorted(parts):
        made.anonymous.append(address, address + pages * PAGE)
    for address, pages in sorted(module):
        made.modules.append(address, address + pages * PAGE)
    return made


def nothing(start: int, end: int) -> Iterator[tuple[int, int]]:
    yield from ()


def everything(start: int, end: int) -> Iterator[tuple[int, int]]:
    yield start, end


ADDRESS = 0x7F0000000000
AREAS = st.lists(
    st.tuples(st.integers(1, 600), st.integers(0, 3), st.sets(st.integers(0, 599), max_size=9)),
    min_size=1,
    max_size=6,
)


def laid_out(areas):
    """Segments, mappings, `populated`, and the address of each page with content, by its offset."""
    # kind 0: anonymous; 1: shared; 2: of a file; 3: anonymous, empty.
    parts, anonymous, modules, content = [], [], [], {}
    address, offset = ADDRESS, START
    for pages, kind, touched in areas:
        parts.append((address, pages))
        if kind in (0, 3):
            anonymous.append((address, pages))
        if kind == 2:
            modules.append((address, pages))
        for page in range(pages):
            if kind in (1, 2) or (kind == 0 and page in touched):
                content[offset + page * PAGE] = address + page * PAGE
        offset += pages * PAGE
        address += pages * PAGE
    addresses = set(content.values())

    def populated(start: int, end: int) -> Iterator[tuple[int, int]]:
        for page in range(start, end, PAGE):
            if page in addresses:
                yield page, page + PAGE

    made = mapped(*anonymous, module=tuple(modules))
    return table(*parts), made, populated, content


@given(AREAS, st.lists(st.integers(0, 2400), max_size=4))
def test_every_page_with_content_is_in_one_chunk_and_in_its_place(
    areas: list[tuple[int, int, set[int]]], stack_pages: list[int]
) -> None:
    segments, made, populated, content = laid_out(areas)
    pointers = [ADDRESS + page * PAGE + 8 for page in stack_pages]
    chunks = list(plan.chunks(segments, made, populated, pointers, CHUNK))
    seen = {}
    for chunk in chunks:
        assert 0 < chunk.size <= CHUNK
        for at, where, size in chunk.pieces:
            for page in range(0, size, PAGE):
                assert chunk.offset + at + page not in seen
                seen[chunk.offset + at + page] = where + page
    assert seen == content
    end = 0
    for chunk in sorted(chunks, key=lambda chunk: chunk.offset):
        assert chunk.offset >= end
        end = chunk.offset + chunk.size


@given(AREAS)
def test_without_an_index_chunks_follow_one_another_and_have_every_page_with_content(
    areas: list[tuple[int, int, set[int]]],
) -> None:
    segments, made, populated, content = laid_out(areas)
    core_end = START + sum(pages for pages, _, _ in areas) * PAGE
    chunks = list(plan.whole(segments, made, populated, START, CHUNK, b"tail"))
    assert chunks.pop().literal == b"tail"
    end = START
    seen = {}
    for chunk in chunks:
        assert chunk.offset == end
        end += chunk.size
        assert chunk.size == CHUNK or end == core_end
        assert chunk.is_zeros == (not chunk.pieces)
        for at, where, size in chunk.pieces:
            for page in range(0, size, PAGE):
                seen[chunk.offset + at + page] = where + page
    assert end == core_end
    assert seen == content


def test_stacks_come_first_then_modules_and_the_heap_last() -> None:
    heap, module, stack = ADDRESS, ADDRESS + (1 << 30), ADDRESS + (2 << 30)
    segments = table((heap, 5000), (module, 3), (module + 3 * PAGE, 2), (stack, 100))
    maps = mapped((heap, 5000), (module + 3 * PAGE, 2), (stack, 100), module=((module, 3),))
    pointer = stack + 90 * PAGE + 200
    chunks = list(plan.chunks(segments, maps, everything, [pointer], CHUNK))
    first = [(chunk.pieces[0][1], chunk.size // PAGE) for chunk in chunks]
    assert first[:2] == [(stack + 90 * PAGE, 10), (module, 5)]
    assert first[2] == (heap, CHUNK // PAGE)
    assert first[-1] == (stack, 90)


def test_a_red_zone_below_the_stack_pointer_belongs_to_the_stack() -> None:
    maps = mapped((ADDRESS, 100))
    pointer = ADDRESS + 50 * PAGE + 8
    chunk = next(plan.chunks(table((ADDRESS, 100)), maps, everything, [pointer], CHUNK))
    assert chunk.pieces[0][1] == ADDRESS + 49 * PAGE


def test_a_hole_of_64_kib_ends_a_chunk_and_a_shorter_one_is_stored() -> None:
    def populated(start: int, end: int) -> Iterator[tuple[int, int]]:
        for page in (0, 16, 33):
            yield start + page * PAGE, start + (page + 1) * PAGE

    maps = mapped((ADDRESS, 100))
    chunks = list(plan.chunks(table((ADDRESS, 100)), maps, populated, [], CHUNK))
    assert [(chunk.offset - START, chunk.size) for chunk in chunks] == [
        (0, 17 * PAGE),
        (33 * PAGE, PAGE),
    ]


def test_an_index_stays_short_whatever_a_process_touches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "CHUNKS_PER_STEP", 16)

    def populated(start: int, end: int) -> Iterator[tuple[int, int]]:
        for page in range(start, end, 32 * PAGE):
            yield page, page + PAGE

    maps = mapped((ADDRESS, 1 << 16))
    chunks = list(plan.chunks(table((ADDRESS, 1 << 16)), maps, populated, [], CHUNK))
    assert len(chunks) < 16 + 16 + (1 << 28) // CHUNK + 1


def test_a_chunk_that_is_cut_keeps_its_beginning() -> None:
    chunk = next(plan.chunks(table((ADDRESS, 100)), mapped(), nothing, [], CHUNK))
    chunk.cut(512)
    assert (chunk.size, chunk.pieces) == (512, [(0, ADDRESS, 512)])


def test_the_stack_pointers_are_those_of_the_notes() -> None:
    def status(pointer: int) -> bytes:
        desc = bytearray(336)
        desc[264:272] = pointer.to_bytes(8, "little")
        return struct.pack("<III", 5, len(desc), 1) + b"CORE\0\0\0\0" + desc

    other = struct.pack("<III", 5, 4, 3) + b"CORE\0\0\0\0" + b"abcd"
    notes = status(0x1000) + other + status(2**64 - 1)
    assert order.stack_pointers(header(), notes) == [0x1000, 2**64 - 1]
    assert order.stack_pointers(header(), notes[:-1]) == [0x1000]


@pytest.mark.parametrize(("bits", "size"), [(64, 64), (32, 40)])
def test_what_follows_the_memory_of_many_segments_is_one_section_header(
    bits: int, size: int
) -> None:
    segments = table((ADDRESS, 1))
    made = header()
    assert plan.tail(made, segments, segments.end) == b""
    assert plan.tail(made, segments, segments.end + size) is None
    made.bits, made.phnum, made.shoff = bits, 0xFFFF, segments.end
    section = plan.tail(made, segments, segments.end + size)
    assert section is not None
    assert len(section) == size
    info = 44 if bits == 64 else 28
    assert section[info : info + 4] == (1).to_bytes(4, "little")
