"""Which mappings may have holes: whatever the kernel writes into `maps`."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coredumpd.handler.memory import mappings

MAPS = b"""\
00400000-00401000 r--p 00000000 fe:00 131 /usr/bin/app
00401000-00402000 rw-p 00001000 fe:00 131 /usr/bin/app
00402000-00403000 rw-p 00000000 00:00 0
00403000-00424000 rw-p 00000000 00:00 0                                  [heap]
10000000-10001000 ---p 00000000 00:00 0
20000000-20001000 rw-s 00000000 00:01 12                                 /dev/zero (deleted)
20001000-20002000 rw-p 00000000 00:00 0                                  [anon:a name]
20002000-20003000 rw-s 00000000 00:00 0                                  [anon_shmem:a name]
20003000-20004000 rw-p 00000000 00:2f 0                                  /of/inode/0
40000000-40200000 rw-p 00000000 00:0f 99                                 /anon_hugepage (deleted)
50000000-50200000 rw-p 00000000 fe:00 99                                 /anon_hugepage (deleted)
60000000-60200000 rw-p 00000000 00:0f 98                                 /hugepages/a file
7ffd0000-7ffe0000 rw-p 00000000 00:00 0                                  [stack]
7fff0000-7fff4000 r--p 00000000 00:00 0                                  [vvar]
7fff4000-7fff6000 r-xp 00000000 00:00 0                                  [vdso]
ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0                  [vsyscall]
"""


@pytest.mark.parametrize("piece", [1, 7, 100, 10_000])
def test_only_private_anonymous_memory_may_have_holes(piece: int) -> None:
    read = mappings.Mappings()
    for start in range(0, len(MAPS), piece):
        read.feed(MAPS[start : start + piece])
    assert list(read.anonymous) == [
        (0x402000, 0x424000),
        (0x10000000, 0x10001000),
        (0x20001000, 0x20002000),
        (0x40000000, 0x40200000),
        (0x7FFD0000, 0x7FFE0000),
    ]
    assert list(read.modules) == [
        (0x400000, 0x402000),
        (0x20003000, 0x20004000),
        (0x50000000, 0x50200000),
        (0x60000000, 0x60200000),
        (0x7FFF0000, 0x7FFF6000),
        (0xFFFFFFFFFF600000, 0xFFFFFFFFFF601000),
    ]
    assert read.protected == [(0x10000000, 0x10001000)]


@given(st.sets(st.integers(0, 40), max_size=20), st.integers(0, 40), st.integers(0, 40))
def test_the_parts_within_a_range_are_its_own(pages: set[int], one: int, other: int) -> None:
    ranges = mappings.Ranges()
    for page in sorted(pages):
        ranges.append(page, page + 1)
    start, end = sorted((one, other))
    inside = [page for first, last in ranges.within(start, end) for page in range(first, last)]
    assert inside == sorted(page for page in pages if start <= page < end)
