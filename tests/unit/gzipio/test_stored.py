from __future__ import annotations

import gzip

import pytest

from coredumpd.gzipio import stored


@pytest.mark.parametrize("size", [0, 1, 512, 65535, 65536, 200_000])
def test_a_member_decompresses_to_what_was_put_in(size: int) -> None:
    data = bytes(range(256)) * (size // 256 + 1)
    assert gzip.decompress(stored.member(data[:size])) == data[:size]


def test_members_concatenate() -> None:
    assert gzip.decompress(stored.member(b"one ") + stored.member(b"two")) == b"one two"


def test_the_bytes_are_fixed_and_hold_no_time() -> None:
    assert stored.member(b"abc").hex() == "1f8b08000000000000ff010300fcff616263c241243503000000"
