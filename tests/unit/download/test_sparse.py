from __future__ import annotations

import os
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as some

from coredumpd import errors
from coredumpd.download import sparse

BLOCK = sparse.BLOCK_BYTES
PIECES = some.lists(
    some.one_of(some.binary(max_size=50), some.integers(0, 3 * BLOCK).map(bytes)), max_size=12
)


def written(path, pieces):
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
    spent = []
    try:
        file = sparse.SparseFile(descriptor, 2**40, spent.append)
        for piece in pieces:
            file.write(piece)
        file.end()
    finally:
        os.close(descriptor)
    return file, sum(spent)


@given(pieces=PIECES)
def test_whatever_pieces_come_the_file_is_the_same(tmp_path_factory, pieces):
    path = tmp_path_factory.getbasetemp() / "file"
    file, _ = written(path, pieces)
    content = b"".join(pieces)
    assert path.read_bytes() == content
    assert file.content == (len(content), f"{zlib.crc32(content):08x}")


def test_zeros_take_no_space_even_at_the_end(tmp_path):
    path = tmp_path / "file"
    zeros = bytes(1_000_001)  # never aligned
    file, spent = written(path, [b"head", *[zeros] * 50, b"tail", *[zeros] * 50])
    assert path.stat().st_size == file.size == 100_000_108
    assert spent < 4 * BLOCK
    assert path.stat().st_blocks * 512 < 100_000


def test_more_bytes_than_announced_are_refused_before_they_are_written(tmp_path):
    descriptor = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT)
    file = sparse.SparseFile(descriptor, 10, lambda size: None)
    file.write(b"x" * 10)
    with pytest.raises(errors.StorageError, match="more came than the 10 bytes"):
        file.write(b"x")
    os.close(descriptor)
