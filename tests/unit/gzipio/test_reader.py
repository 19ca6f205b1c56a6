from __future__ import annotations

import gzip
import tracemalloc
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as some

from coredumpd.gzipio import member, reader

MEMBERS = some.lists(some.binary(max_size=300), min_size=1, max_size=5)


def gzipped(members: list[bytes]) -> bytes:
    return b"".join(gzip.compress(content, mtime=0) for content in members)


def pieces(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


def content(gunzip: reader.Reader, data: bytes, size: int = 1000) -> bytes:
    return b"".join(part for piece in pieces(data, size) for part in gunzip.feed(piece))


@given(MEMBERS, some.integers(1, 400), some.integers(1, 100))
def test_members_cut_anywhere_give_their_content_counted(members, size, piece_bytes):
    data, expected = gzipped(members), b"".join(members)
    gunzip = reader.Reader(piece_bytes)
    assert content(gunzip, data, size) == expected
    assert not gunzip.cut
    assert (gunzip.size, gunzip.crc32) == (len(expected), zlib.crc32(expected))
    whole = gunzip.whole
    assert (whole.members, whole.stored_size) == (len(members), len(data))
    assert (whole.size, whole.crc32) == (len(expected), zlib.crc32(expected))


@given(MEMBERS, some.binary(min_size=1, max_size=2000), some.data())
def test_of_a_cut_member_what_is_readable_is_given_and_counted(members, last, data):
    before, after = gzipped(members), gzipped([last])
    length = data.draw(some.integers(1, len(after) - 1))
    gunzip = reader.Reader()
    readable = content(gunzip, before + after[:length], data.draw(some.integers(1, 500)))
    assert gunzip.cut
    assert (b"".join(members) + last).startswith(readable)
    assert (gunzip.size, gunzip.crc32) == (len(readable), zlib.crc32(readable))
    assert (gunzip.whole.members, gunzip.whole.stored_size) == (len(members), len(before))


@given(some.data())
def test_a_bit_that_flipped_is_damage_wherever_it_means_something(data):
    expected = b"memory of a process " * 20
    stored = bytearray(gzipped([expected]))
    stored[data.draw(some.integers(10, len(stored) - 1))] ^= 1 << data.draw(some.integers(0, 7))
    try:  # deflate pads its last byte: those bits are nobody's
        harmless = gzip.decompress(stored) == expected
    except (OSError, EOFError, zlib.error):
        harmless = False
    gunzip = reader.Reader()
    if harmless:
        assert content(gunzip, bytes(stored)) == expected
        return
    try:
        gunzip.count(bytes(stored))
    except reader.DamagedError:
        assert gunzip.whole.members == 0
    else:
        assert gunzip.cut


def test_a_length_that_is_off_is_damage():
    stored = bytearray(gzipped([b"memory"]))
    stored[-4:] = (7).to_bytes(4, "little")
    for size in (1, 3, len(stored)):
        gunzip = reader.Reader()
        with pytest.raises(reader.DamagedError):
            content(gunzip, bytes(stored), size)
        assert gunzip.whole.members == 0


@given(some.binary(max_size=500), some.binary(min_size=20, max_size=200))
def test_what_follows_the_members_must_be_gzip(expected, garbage):
    gunzip = reader.Reader()
    with pytest.raises(reader.DamagedError):
        gunzip.count(gzipped([expected]) + b"\0" + garbage)
    assert (gunzip.whole.members, gunzip.whole.size) == (1, len(expected))


def test_output_that_needs_no_more_input_is_not_forgotten():
    data = gzipped([bytes(3000)])
    for size in (1, 2, 3, 50, len(data)):
        gunzip = reader.Reader(7)
        assert content(gunzip, data, size) == bytes(3000)
        assert not gunzip.cut


def test_a_bomb_comes_out_in_pieces_of_bounded_size():
    data = gzipped([bytes(200_000_000)])
    tracemalloc.start()
    gunzip = reader.Reader()
    assert max(map(len, gunzip.feed(data))) <= member.CHUNK_BYTES
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert gunzip.size == 200_000_000
    assert peak < 20_000_000


def test_without_a_byte_there_is_no_member():
    gunzip = reader.Reader()
    gunzip.count(b"")
    assert not gunzip.cut
    assert (gunzip.size, gunzip.crc32, gunzip.whole.members) == (0, 0, 0)
