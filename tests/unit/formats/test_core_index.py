from __future__ import annotations

import os
import random

import pytest
from hypothesis import given
from hypothesis import strategies as some

from coredumpd import errors
from coredumpd.formats import core_index
from coredumpd.gzipio import member

# A core of 1 MiB: headers, a hole, a stack that was stored first, and a heap in two members.
CORE_BYTES = 1024 * 1024
ENTRIES = [
    (512 * 1024, 4096, 0, 70),  # the stack
    (0, 8192, 70, 100),
    (64 * 1024, 65536, 170, 1000),
    (128 * 1024, 65536, 1170, 1000),
]
HEADER, ENTRY, TRAILER = 32, 24, 32


@some.composite
def cores(draw: some.DrawFn) -> tuple[int, list[core_index.Entry]]:
    """The size of a core, and its members in any order of core.gz."""
    parts = draw(some.lists(some.tuples(some.integers(0, 9), some.integers(1, 9)), min_size=1))
    spans, end = [], 0
    for hole, size in parts:
        spans.append((end + hole * 4096, size * 4096))
        end += (hole + size) * 4096
    entries, stored_end = [], 0
    for offset, size in draw(some.permutations(spans)):
        stored = draw(some.integers(1, 5000))
        entries.append((offset, size, stored_end, stored))
        stored_end += stored
    return end + draw(some.integers(0, 9)) * 4096, entries


@given(cores())
def test_an_index_is_parsed_into_the_entries_it_was_built_of_in_the_core_s_order(core):
    core_size, entries = core
    index = core_index.parse(core_index.build(core_size, entries).data)
    assert list(index) == sorted(entries)
    assert (index.core_size, len(index)) == (core_size, len(entries))
    assert index.stored_size == sum(entry[3] for entry in entries)


@given(cores())
def test_extents_and_holes_together_are_the_core(core):
    core_size, entries = core
    index = core_index.build(core_size, entries)
    extents = list(index.extents())
    assert sum(size for _, size in extents) == index.data_size
    ends = [0, *(offset + size for offset, size in extents)]
    starts = [*(offset for offset, _ in extents), core_size]
    gaps = [start - end for start, end in zip(starts, ends, strict=True)]
    assert index.holes == sum(gap > 0 for gap in gaps)
    assert all(gap > 0 for gap in gaps[1:-1])
    assert index.data_size + sum(gaps) == core_size


@given(cores(), some.data())
def test_the_entries_that_cover_a_range_are_those_that_hold_a_byte_of_it(core, data):
    core_size, entries = core
    index = core_index.build(core_size, entries)
    edges = [edge for offset, size, _, _ in entries for edge in (offset, offset + size)]
    first = data.draw(some.sampled_from(edges) | some.integers(0, core_size))
    end = data.draw(some.integers(first, core_size))
    expected = [each for each in sorted(entries) if each[0] < end and each[0] + each[1] > first]
    assert list(index.covering(first, end)) == (expected if first < end else [])


@given(cores(), some.data())
def test_a_file_that_was_cut_gives_its_whole_entries(core, data):
    core_size, entries = core
    whole = core_index.header(core_size) + b"".join(core_index.entry(*each) for each in entries)
    length = data.draw(some.integers(HEADER, len(whole)))
    assert core_index.recover(whole[:length]) == (
        core_size,
        entries[: (length - HEADER) // ENTRY],
    )


def test_a_file_whose_end_the_disk_lost_gives_the_entries_before_it():
    written = core_index.header() + b"".join(core_index.entry(*each) for each in ENTRIES[:2])
    assert core_index.recover(written + bytes(10 * ENTRY)) == (0, ENTRIES[:2])


def test_every_cut_and_every_flipped_bit_is_noticed():
    data = core_index.build(CORE_BYTES, ENTRIES).data
    for length in range(len(data)):
        with pytest.raises(errors.BadRecord):
            core_index.parse(data[:length])
    for position in range(len(data)):
        damaged = bytearray(data)
        damaged[position] ^= 1 << random.randrange(8)
        with pytest.raises(errors.BadRecord):
            core_index.parse(bytes(damaged))


@pytest.mark.parametrize(
    ("core_size", "entries", "rule"),
    [
        (4096, [], "0 entries"),
        (4096, [(0, 0, 0, 70)], "a member of 0 bytes of core;"),
        (4096, [(0, 4096, 0, 0)], "a member of 0 bytes of core.gz"),
        (2**30, [(0, core_index.MEMBER_BYTES_MAX + 1, 0, 70)], "a member of 4194305 bytes"),
        (2**30, [(0, 4096, 0, 2**23)], "a member of 8388608 bytes of core.gz"),
        (8192, [(0, 4096, 0, 70), (4095, 4096, 70, 70)], "overlaps"),
        (8192, [(0, 4096, 0, 70), (0, 4096, 70, 70)], "overlaps"),
        (8191, [(0, 4096, 0, 70), (4096, 4096, 70, 70)], "8192 of a core of 8191"),
        (2**63, [(0, 4096, 0, 70)], "at most 4611686018427387904"),
        (8192, [(0, 100, 0, 70), (4096, 4096, 70, 70)], "no multiple of 512"),
        (8192, [(0, 100, 0, 70)], "does not begin at a multiple"),
        (8192, [(0, 4096, 0, 70), (4096, 4096, 71, 70)], "no member, or two, at byte 70"),
        (8192, [(0, 4096, 0, 70), (4096, 4096, 69, 70)], "no member, or two, at byte 69"),
        (4096, [(0, 4096, 1, 70)], "no member, or two, at byte 0"),
    ],
)
def test_entries_that_contradict_one_another_are_refused(core_size, entries, rule):
    with pytest.raises(errors.BadRecord, match=rule):
        core_index.build(core_size, entries)


def test_an_index_of_a_later_version_is_refused_by_its_version():
    data = bytearray(core_index.build(CORE_BYTES, ENTRIES).data)
    data[8] = 2
    with pytest.raises(errors.BadRecord, match="version 2; this coredumpd reads 1"):
        core_index.parse(bytes(data))


def test_a_file_beyond_the_limit_is_refused_unread():
    with pytest.raises(errors.BadRecord, match="at most"):
        core_index.parse(core_index.header() + bytes(core_index.BYTES_MAX))


def test_a_member_that_does_not_compress_is_within_the_bounds():
    chunk = os.urandom(core_index.MEMBER_BYTES_MAX)
    core_index.build(len(chunk), [(0, len(chunk), 0, len(member.compress(chunk)[0]))])
