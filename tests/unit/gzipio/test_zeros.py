from __future__ import annotations

import zlib

from hypothesis import given
from hypothesis import strategies as some

from coredumpd.gzipio import zeros


@given(some.binary(max_size=50), some.integers(0, 300_000), some.binary(max_size=50))
def test_it_is_the_crc_that_the_zeros_themselves_would_have(before, size, rest):
    crc32 = zeros.after(zlib.crc32(before), size)
    assert crc32 == zlib.crc32(before + bytes(size))
    assert zlib.crc32(rest, crc32) == zlib.crc32(before + bytes(size) + rest)


@given(some.integers(0, 2**61), some.integers(0, 2**61))
def test_zeros_after_zeros_are_more_zeros(one, other):
    assert zeros.after(zeros.after(0, one), other) == zeros.after(0, one + other)


def test_no_zeros_have_the_crc_of_nothing():
    assert zeros.after(0, 0) == 0
