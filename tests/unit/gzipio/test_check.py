from __future__ import annotations

import gzip
import io
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as some
from support import dumps, keys, sealed, sparse

from coredumpd import errors
from coredumpd.formats import core_index
from coredumpd.formats import record as records
from coredumpd.gzipio import check, reader


def crash_of(stored: bytes, content: bytes) -> records.CrashRecord:
    _, crash, _ = dumps.make(content)
    crash.raw["core"] |= {
        "storedSize": len(stored),
        "size": len(content),
        "crc32": f"{zlib.crc32(content):08x}",
    }
    return crash


def read_all(stored: bytes, crash: records.CrashRecord, size: int = 1000) -> bytes:
    reader = check.checked(io.BytesIO(stored), crash)
    return b"".join(iter(lambda: reader.read(size), b""))


@given(some.lists(some.binary(max_size=300), min_size=1, max_size=5), some.integers(1, 400))
def test_a_whole_core_of_several_members_passes_unchanged(members, size):
    stored = b"".join(gzip.compress(member, mtime=0) for member in members)
    assert read_all(stored, crash_of(stored, b"".join(members)), size) == stored


@given(some.data())
def test_a_bit_that_flipped_passes_only_where_it_means_nothing(data):
    content = b"memory of a process " * 20
    stored = bytearray(gzip.compress(content, mtime=0))
    crash = crash_of(bytes(stored), content)
    stored[data.draw(some.integers(10, len(stored) - 1))] ^= 1 << data.draw(some.integers(0, 7))
    try:  # deflate pads its last byte: those bits are nobody's
        harmless = gzip.decompress(stored) == content
    except (OSError, EOFError, zlib.error):
        harmless = False
    if harmless:
        assert read_all(bytes(stored), crash) == stored
    else:
        with pytest.raises(errors.BadRecord, match=r"core\.gz is damaged"):
            read_all(bytes(stored), crash)


@given(some.integers(0, 60))
def test_a_core_that_was_cut_never_passes(length):
    content = b"memory" * 10
    stored = gzip.compress(content, mtime=0)
    cut = stored[: min(length, len(stored) - 1)]
    with pytest.raises(errors.BadRecord, match=r"core\.gz is damaged"):
        read_all(cut, crash_of(stored, content))


def test_it_can_be_read_again_from_the_start() -> None:
    content = b"again"
    stored = gzip.compress(content, mtime=0)
    reader = check.checked(io.BytesIO(stored), crash_of(stored, content))
    for _ in range(2):
        assert b"".join(iter(lambda: reader.read(7), b"")) == stored
        reader.seek(0)


def test_a_small_file_may_hold_a_large_core() -> None:
    content = bytes(40 * 1024 * 1024)
    for level in (1, 9):
        stored = gzip.compress(content, level, mtime=0) + gzip.compress(b"end", mtime=0)
        crash = crash_of(stored, content + b"end")
        for size in (1024 * 1024, 7, len(stored) - 1):
            assert read_all(stored, crash, size) == stored


def test_whoever_wants_to_know_is_told_of_every_read() -> None:
    stored, reads = gzip.compress(b"memory"), []
    reader = check.checked(io.BytesIO(stored), crash_of(stored, b"memory"), lambda: reads.append(1))
    assert reader.read(10) + reader.read(1000) + reader.read(1000) == stored
    assert len(reads) == 3


def test_a_sealed_core_is_held_against_what_its_record_says_of_the_age_file():
    _, crash, core = sealed.make(b"memory" * 1000, keys.age())
    assert read_all(core.getvalue(), crash) == core.getvalue()
    assert crash.sealed is not None
    crash.sealed["size"] += 1
    with pytest.raises(errors.BadRecord, match="size is"):
        read_all(core.getvalue(), crash)


HOLED = {0: b"head" * 1024, 2**21: bytes(range(256)) * 32, 2**20: b"heap" * 2048}


@given(some.permutations(sorted(HOLED)), some.integers(1, 16), some.integers(0, 9))
def test_a_core_with_holes_has_the_crc_of_the_whole_core(order, members, end):
    core_size = 2**21 + 8192 + end * 512
    _, record, stored, index = sparse.make(HOLED, core_size, order, 512 * members)
    whole = sparse.core(HOLED, core_size)
    assert record.content == (core_size, f"{zlib.crc32(whole):08x}")
    reader = check.checked(stored, record, index=index)
    assert b"".join(iter(lambda: reader.read(999), b"")) == stored.getvalue()


def drain(stored: io.BytesIO, record: records.CrashRecord, index: core_index.Index) -> None:
    core_index.expect(record, index)
    reader = check.checked(stored, record, index=index)
    while reader.read(999):
        pass


@pytest.mark.parametrize(
    ("core", "problem"),
    [
        ({"crc32": "00000000"}, "crc32 is"),
        ({"size": 2**22}, r"core\.index is of another core"),
    ],
)
def test_a_record_of_another_core_with_holes_does_not_pass(core, problem):
    _, record, stored, index = sparse.make(HOLED, 2**21 + 8192)
    with pytest.raises(errors.BadRecord, match=problem):
        drain(stored, record.with_core(**core), index)


def test_members_that_are_not_as_the_index_says_do_not_pass():
    parts = {0: bytes(4096), 8192: b"b" * 8192}
    _, record, stored, index = sparse.make(parts, 2**20, member_bytes=8192)
    entries = [(offset, size - 512, *rest) for offset, size, *rest in index]
    other = core_index.build(2**20, entries)
    lying = records.with_index(record, other, 0, {"is": False})
    with pytest.raises(errors.BadRecord, match="not as its index says"):
        drain(stored, lying, other)


def test_one_member_gives_its_content_or_an_error():
    data = gzip.compress(b"content", mtime=0)
    assert reader.one(data, 7) == b"content"
    for wrong, size in ((data, 6), (data, 8), (data[:-1], 7), (data + data, 7), (b"", 0)):
        with pytest.raises(reader.DamagedError):
            reader.one(wrong, size)
