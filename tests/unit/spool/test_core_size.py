"""The size a core states, and what is not believed to state one."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coredumpd.spool import core_size


def core(segments: list[tuple[int, int]], phnum: int | None = None, shoff: int = 0) -> bytes:
    """ELF and program headers of a core whose segments are (offset, file size)."""
    count = len(segments) if phnum is None else phnum
    header = struct.pack(
        "<16sHHIQQQIHHHHHH",
        b"\x7fELF\x02\x01\x01" + bytes(9),
        4,
        62,
        1,
        0,
        64,
        shoff,
        0,
        64,
        56,
        count,
        64,
        1,
        0,
    )
    rows = (struct.pack("<IIQQQQQQ", 1, 6, at, 0, 0, size, size, 4096) for at, size in segments)
    return header + b"".join(rows)


def stated(data: bytes, step: int = 1000) -> int | None:
    expectation = core_size.Expectation()
    for start in range(0, len(data), step):
        if expectation.wants_more:
            expectation.feed(data[start : start + step])
    return expectation.size


@pytest.mark.parametrize("step", [1, 7, 64, 65, 100000])
def test_a_core_ends_with_its_last_segment_however_it_arrives(step: int) -> None:
    data = core([(4096, 100), (8192, 4096), (5000, 1)]) + bytes(12288)
    assert stated(data, step) == 12288


def test_more_segments_than_the_header_can_count_end_with_a_section_header() -> None:
    assert stated(core([], phnum=0xFFFF, shoff=10_000_000)) == 10_000_064


def test_a_header_cut_short_states_nothing() -> None:
    assert stated(core([(4096, 100), (8192, 100)])[:150]) is None


@given(st.binary(max_size=400), st.integers(1, 200))
def test_any_bytes_state_a_size_or_nothing(data: bytes, step: int) -> None:
    stated(data, step)
    stated(core([], phnum=5)[:64] + data, step)
