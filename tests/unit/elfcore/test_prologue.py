"""The start of a core, however its bytes arrive; and bytes that are no core."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import cores

from coredumpd.elfcore import prologue

SIZES = st.lists(st.integers(0, 3 * cores.PAGE_BYTES), min_size=1, max_size=6)
NOTES = st.lists(st.tuples(st.integers(0, 2**32 - 1), st.binary(max_size=200)), max_size=5)
BITS, ORDERS = st.sampled_from([32, 64]), st.sampled_from("<>")


def read(data: bytes, step: int = 1000) -> prologue.Prologue:
    start = prologue.Prologue()
    for at in range(0, len(data), step):
        if start.wants_more:
            start.feed(data[at : at + step])
    return start


@given(SIZES, NOTES, BITS, ORDERS, st.integers(1, 5000))
def test_what_was_written_is_read_however_it_arrives(
    sizes: list[int], rows: list[tuple[int, bytes]], bits: int, order: str, step: int
) -> None:
    text = b"".join(cores.note(kind, desc, order=order) for kind, desc in rows)
    data = cores.written(sizes, text, bits, order)
    start = read(data, step)
    assert start.problem is None
    assert start.segments is not None
    assert [row.filesz for row in start.segments] == [len(text), *sizes]
    assert start.notes == text
    assert start.is_cut(len(data) - 1) or not any(sizes)
    assert not start.is_cut(len(data))
    if any(sizes):
        assert start.size == len(data)
        assert start.segments.data_offset == len(data) - sum(sizes)


@given(SIZES, BITS, ORDERS, st.integers(0, 2**16))
def test_a_core_cut_anywhere_is_cut(sizes: list[int], bits: int, order: str, at: int) -> None:
    data = cores.written([*sizes, 100], b"", bits, order)
    piece = data[: at % len(data)]
    start = read(piece)
    assert start.problem is None
    assert start.is_cut(len(piece))


@pytest.mark.parametrize("bits", [32, 64])
@pytest.mark.parametrize("order", ["<", ">"])
def test_more_segments_than_the_header_can_count_are_read(bits: int, order: str) -> None:
    data = cores.written([1] * 70_000, cores.note(1, b"x", order=order), bits, order)
    start = read(data, 2**20)
    assert start.problem is None
    assert start.segments is not None
    assert len(start.segments) == 70_001
    assert start.segments.data_offset == len(data) - 70_000 - (64 if bits == 64 else 40)
    assert start.size == len(data)


def test_segments_beyond_16_mib_are_not_kept_but_the_size_is_known() -> None:
    count = 300_000
    start = prologue.Prologue()
    start.feed(cores.header(cores.PN_XNUM, sections_at=10**9))
    start.feed(cores.segment(cores.NOTE, 64 + count * 56, 100, memory=0))
    assert (start.wants_more, start.segments, start.size) == (False, None, 10**9 + 64)


@pytest.mark.parametrize(
    ("kind", "notes_at"),
    [
        (cores.LOAD, 64 + 56 * 70_000),
        (cores.NOTE, 64 + 56 * 70_000 + 1),
        (cores.NOTE, 64 + 56 * 60_000),
        (cores.NOTE, 8),
    ],
)
def test_more_segments_than_can_be_counted_without_notes_behind_them_are_malformed(
    kind: int, notes_at: int
) -> None:
    start = read(cores.header(cores.PN_XNUM) + cores.segment(kind, notes_at, 100))
    assert start.problem == "e_phnum is PN_XNUM, and no notes follow the program headers"


def test_only_the_beginning_of_long_notes_is_kept() -> None:
    data = cores.written([100], cores.note(1, bytes(1_000_000)))
    assert len(read(data).notes) == prologue.NOTES_BYTES_MAX


@pytest.mark.parametrize("data", [b"MZ\x90\x00" * 100, b"\x7fELF" + bytes(100)])
def test_what_is_no_elf_core_is_malformed_and_not_cut(data: bytes) -> None:
    start = read(data)
    assert start.problem is not None
    assert (start.size, start.is_cut(len(data))) == (None, False)


@given(st.binary(max_size=400), BITS, ORDERS, st.integers(1, 9), st.integers(1, 200))
def test_any_bytes_are_read_without_an_exception(
    data: bytes, bits: int, order: str, count: int, step: int
) -> None:
    read(data, step)
    read(cores.header(count, bits, order) + data, step)
