from __future__ import annotations

import gzip
import random
import zlib

import pytest

from coredumpd.gzipio import member


@pytest.mark.parametrize("size", [0, 1, 4096, member.CHUNK_BYTES])
def test_a_member_decompresses_to_its_chunk_and_tells_its_crc(size: int) -> None:
    chunk = random.Random(size).randbytes(size)
    data, crc32 = member.compress(chunk)
    assert gzip.decompress(data) == chunk
    assert crc32 == zlib.crc32(chunk)


def test_the_totals_of_members_are_those_of_the_whole_stream() -> None:
    chunks = [b"first", b"", b"second" * 1000]
    result, stored = member.Result(), b""
    for chunk in chunks:
        data, crc32 = member.compress(chunk)
        result.add(len(chunk), len(data), crc32)
        stored += data
    whole = gzip.decompress(stored)
    assert (result.size, result.crc32) == (len(whole), zlib.crc32(whole))
    assert (result.stored_size, result.members) == (len(stored), 3)


def test_only_a_whole_chunk_of_zeros_is_one() -> None:
    zeros = bytearray(member.CHUNK_BYTES)
    assert member.is_zeros(zeros)
    assert not member.is_zeros(zeros[:-1])
    zeros[-1] = 1
    assert not member.is_zeros(zeros)


def test_the_member_of_zeros_is_that_of_any_other_chunk() -> None:
    assert member.of_zeros() == member.compress(bytes(member.CHUNK_BYTES))
    assert member.of_zeros() is member.of_zeros()
