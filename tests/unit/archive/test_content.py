from __future__ import annotations

import gzip
import io

import pytest
from hypothesis import given
from hypothesis import strategies as some
from support import archives, sparse

from coredumpd import errors
from coredumpd.archive import content

CORE = bytes(range(256)) * 100


@given(some.integers(0, len(CORE)), some.integers(0, len(CORE)), some.integers(1, 5))
def test_a_range_of_a_core_without_an_index_is_found_from_its_start(first, end, members):
    store = archives.MemoryStore()
    dump = store.add("app", CORE, members=members)
    chunks = content.read(store.open_core, dump.key, None, first, max(first, end))
    assert b"".join(chunks) == CORE[first:end]


class Watched(archives.MemoryCore):
    """Notes the bytes that were read."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.read_bytes = 0

    def read_at(self, offset: int, size: int) -> bytes:
        data = super().read_at(offset, size)
        self.read_bytes += len(data)
        return data


def test_only_the_members_of_the_range_are_read():
    parts = {number * 2**30: bytes([number + 1]) * 4096 for number in range(64)}
    key, _, stored, index = sparse.make(parts, 2**36)
    core = Watched(stored.getvalue())
    chunks = content.read(lambda _: core, key, index, 40 * 2**30 - 1, 40 * 2**30 + 4097)
    assert b"".join(chunks) == b"\0" + bytes([41]) * 4096 + b"\0"
    assert core.read_bytes == next(index.covering(40 * 2**30, 40 * 2**30 + 1))[3]
    assert core.closed


def test_a_damaged_or_cut_core_is_an_error():
    key, _, stored, index = sparse.make({0: CORE[:4096]}, 2**20)
    damaged = bytearray(stored.getvalue())
    damaged[len(damaged) - 6] ^= 1
    for data in (bytes(damaged), stored.getvalue()[:-1]):
        with pytest.raises(errors.StorageError, match=r"core\.gz is damaged"):
            list(content.read(lambda _, d=data: archives.MemoryCore(d), key, index, 0, 10))
    cut = io.BytesIO(gzip.compress(CORE)[:-20]).getvalue()
    with pytest.raises(errors.StorageError, match=r"core\.gz is damaged"):
        list(content.read(lambda _: archives.MemoryCore(cut), key, None, 0, len(CORE)))
