from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as some
from support import archives, sparse

from coredumpd import errors
from coredumpd.archive import plan, stream
from coredumpd.download import sparse as files
from coredumpd.download import sparse_map, unpack

STACK = 2**20
PARTS = {0: b"head" * 1024, STACK: b"stack" * 2048, 2**21: b"x" * 512}
SIZE = 2**22


def archive() -> bytes:
    key, record, stored, index = sparse.make(PARTS, SIZE, [STACK, 0, 2**21])
    store = archives.MemoryStore()
    store.cores[key] = stored.getvalue()
    made = plan.plan([plan.Dump(key, record, len(stored.getvalue()), index)])
    return b"".join(stream.read(made, store.open_core))


ARCHIVE = archive()


@given(some.integers(1, 3000))
def test_a_core_with_holes_is_received_with_its_holes(tmp_path_factory, size):
    path = tmp_path_factory.mktemp("received")
    received = {}

    def begin(name: str, real_size: int) -> files.SparseFile:
        descriptor = os.open(path / name, os.O_RDWR | os.O_CREAT)
        received[name] = descriptor, files.SparseFile(descriptor, real_size, lambda _: None)
        return received[name][1]

    unpacker = unpack.Unpacker(begin)
    for at in range(0, len(ARCHIVE), size):
        unpacker.feed(ARCHIVE[at : at + size])
    assert unpacker.done
    for descriptor, file in received.values():
        file.end()
        os.close(descriptor)
    _, record, _, _ = sparse.make(PARTS, SIZE)
    assert received["core"][1].content == record.content
    assert (path / "core").read_bytes() == sparse.core(PARTS, SIZE)
    assert (path / "core").stat().st_blocks * 512 < 100_000


class Sink:
    """Counts; a file with holes."""

    def __init__(self) -> None:
        self.size = 0

    def write(self, data: bytes) -> None:
        self.size += len(data)

    def skip(self, size: int) -> None:
        assert size > 0
        self.size += size


def placed(text: bytes, data: bytes = b"", real_size: int = 8192) -> int:
    content = text.ljust(-(-len(text) // 512) * 512, b"\0") + data
    sink = Sink()
    sparse_map.Placer(sink, len(content), real_size).write(content)
    return sink.size


@pytest.mark.parametrize(
    ("text", "data"),
    [
        (b"", b""),
        (b"x", b""),
        (b"0\n", b""),
        (b"1\n0\n4096\n", b"short"),
        (b"1\n0\n4096\n", bytes(4097)),
        (b"2\n4096\n512\n0\n512\n", bytes(1024)),
        (b"1\n8000\n512\n", bytes(512)),
        (b"1\n-1\n512\n", bytes(512)),
        (b"1\n0\n5" + b"0" * 30 + b"\n", b""),
        (b"999999999\n" + b"0\n" * 1000, b""),
        (b"1\n0\n", b""),
    ],
)
def test_a_map_that_breaks_a_rule_is_refused(text, data):
    with pytest.raises(errors.StorageError, match="sparse file is damaged"):
        placed(text, data)


def test_a_map_that_keeps_the_rules_places_every_byte():
    assert placed(b"2\n512\n512\n8192\n0\n", bytes(512)) == 8192


@given(some.binary(max_size=1500), some.binary(max_size=600))
def test_no_bytes_make_it_fail_in_another_way(text, data):
    for map_text in (text, b"1\n0\n512\n" + text):
        try:
            assert placed(map_text, data) <= 8192
        except errors.StorageError:
            continue


@given(some.binary(max_size=200))
def test_a_pax_header_of_any_bytes_is_read_or_refused(data):
    for pax in (data, b"22 GNU.sparse.major=1\n" + data):
        try:
            sparse_map.file_of(pax)
        except errors.StorageError:
            continue
