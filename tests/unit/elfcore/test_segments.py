"""The program headers of a core: what they say, and what is not believed."""

from __future__ import annotations

import pytest
from support import cores

from coredumpd.elfcore import header, segments


def table(rows: list[bytes], bits: int = 64) -> segments.Table:
    return segments.Table(header.parse(cores.header(len(rows), bits)), b"".join(rows))


def test_a_table_knows_notes_memory_and_end() -> None:
    rows = [
        cores.segment(cores.NOTE, 300, 100, memory=0),
        cores.segment(cores.LOAD, 4096, 0, address=0x1000, memory=8192),
        cores.segment(cores.LOAD, 4096, 8192, address=0x10000, memory=20000),
    ]
    core = table(rows)
    assert core.notes is not None
    assert (core.notes.offset, core.notes.filesz) == (300, 100)
    assert (core.data_offset, core.end, len(core)) == (4096, 12288, 3)
    last = list(core)[-1]
    assert (last.type, last.flags, last.offset, last.vaddr) == (1, 6, 4096, 0x10000)
    assert (last.filesz, last.memsz, last.align) == (8192, 20000, 4096)


@pytest.mark.parametrize(
    ("row", "rule"),
    [
        (cores.segment(cores.LOAD, 100, 10), "begin at 100, before 4196"),
        (cores.segment(cores.LOAD, 4195, 10), "begin at 4195, before 4196"),
        (cores.segment(cores.LOAD, 2**63 - 5, 10), "beyond 2\\^63"),
        (cores.segment(cores.LOAD, 2**64 - 1, 2**64 - 1), "beyond 2\\^63"),
        (cores.segment(cores.LOAD, 5000, 10, memory=9), "10 bytes in the file, 9 in memory"),
        (cores.segment(cores.LOAD, 5000, 10, 2**64 - 9), "memory ends beyond 2\\^64"),
    ],
)
def test_a_segment_that_overlaps_or_wraps_is_malformed(row: bytes, rule: str) -> None:
    with pytest.raises(header.MalformedError, match=f"segment 1: .*{rule}"):
        table([cores.segment(cores.LOAD, 4096, 100), row])


def test_a_segment_over_the_headers_is_malformed() -> None:
    with pytest.raises(header.MalformedError, match=r"segment 0: .*at 119, before 120"):
        table([cores.segment(cores.LOAD, 119, 10)])


def test_the_vsyscall_page_at_the_end_of_the_address_space_is_read() -> None:
    assert table([cores.segment(cores.LOAD, 4096, 4096, 0xFFFFFFFFFFFFF000)]).end == 8192


def test_offsets_of_a_32_bit_core_above_4_gib_are_meant_modulo_4_gib() -> None:
    rows = [
        cores.segment(cores.LOAD, 0x1000, 0xFFFFE000, bits=32),
        cores.segment(cores.LOAD, 0xFFFFF000, 0x2000, bits=32),
        cores.segment(cores.LOAD, 0x1000, 0x1000, bits=32),
    ]
    core = table(rows, 32)
    assert [row.offset for row in core] == [0x1000, 0xFFFFF000, 0x100001000]
    assert core.end == 0x100002000
