"""Streaming into gzip members: exact, bounded, and honest about what is missing."""

from __future__ import annotations

import gzip
import io
import os
import random
import threading
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import cores, indexed

from coredumpd.formats import core_index
from coredumpd.gzipio import member
from coredumpd.spool import copier as stream
from coredumpd.spool import stream as streams


@pytest.fixture
def sink(tmp_path: Path) -> Iterator[io.FileIO]:
    with io.FileIO(tmp_path / "core.gz", "x+") as file:
        yield file


@pytest.fixture(autouse=True)
def _soon_two(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second thread works from the third chunk on."""
    monkeypatch.setattr(stream, "_ALONE_BYTES", 2 * member.CHUNK_BYTES)


def feed(sink: io.FileIO, data: bytes, size_max: int = 2**40, first: int = 100) -> member.Result:
    source, into = os.pipe()
    writer = threading.Thread(target=write, args=(into, data[first:]))
    writer.start()
    copier = stream.Copier(sink.fileno(), size_max)
    try:
        return copier.copy(streams.Stream(source, data[:first], time.monotonic() + 60))
    finally:
        os.close(source)
        writer.join()


def write(into: int, data: bytes) -> None:
    with open(into, "wb", buffering=0) as file:
        try:
            for start in range(0, len(data), 300_000):
                file.write(data[start : start + 300_000])
        except BrokenPipeError:
            pass  # the reader took what it wanted


def stored(sink: io.FileIO) -> bytes:
    sink.seek(0)
    return sink.readall()


def test_what_is_stored_is_what_came(sink: io.FileIO) -> None:
    data = random.Random(1).randbytes(3_000_000) + bytes(40_000_000)
    result = feed(sink, data)
    assert gzip.decompress(stored(sink)) == data
    assert result.size == len(data)
    assert result.stored_size == len(stored(sink))
    assert result.crc32 == zlib.crc32(data)
    assert result.members > 2
    assert result.reason is None


def test_a_core_is_cut_at_exactly_the_limit(sink: io.FileIO) -> None:
    result = feed(sink, b"x" * 5_000_000, size_max=1_234_567)
    assert result.reason == stream.MAX_SIZE
    assert gzip.decompress(stored(sink)) == b"x" * 1_234_567


def test_a_core_of_exactly_the_limit_is_whole(sink: io.FileIO) -> None:
    assert feed(sink, b"x" * 5000, size_max=5000).reason is None


def test_an_empty_core_says_so(sink: io.FileIO) -> None:
    result = feed(sink, b"")
    assert result.reason == stream.EMPTY
    assert gzip.decompress(stored(sink)) == b""


@pytest.mark.parametrize("bits", [32, 64])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("end", [900_000, 150, 3])
def test_a_core_shorter_than_its_headers_state_is_marked(
    sink: io.FileIO, bits: int, order: str, end: int
) -> None:
    whole = cores.written([500_000, 1_500_000], b"", bits, order)
    result = feed(sink, whole[:end])
    assert result.reason == stream.SHORT
    assert gzip.decompress(stored(sink)) == whole[:end]


def test_a_whole_elf_core_is_not_marked(sink: io.FileIO) -> None:
    assert feed(sink, cores.elf(2_000_000)).reason is None


def test_a_source_that_stalls_is_given_up_at_the_deadline(sink: io.FileIO) -> None:
    source, into = os.pipe()
    copier = stream.Copier(sink.fileno(), 2**40)
    result = copier.copy(streams.Stream(source, b"abc", time.monotonic() + 0.2))
    assert result.reason == stream.TIMEOUT
    assert gzip.decompress(stored(sink)) == b"abc"
    os.close(source)
    os.close(into)


def test_a_full_disk_leaves_whole_members_and_the_reason(sink: io.FileIO, tmp_path: Path) -> None:
    import resource
    import signal

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000_000, hard))
    try:
        data = random.Random(2).randbytes(30_000_000)
        result = feed(sink, data)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    assert result.reason is not None
    assert "the spool failed" in result.reason
    kept = gzip.decompress(stored(sink))
    assert 20_000_000 - 2 * member.CHUNK_BYTES < len(kept) == result.size
    assert data.startswith(kept)
    assert result.crc32 == zlib.crc32(kept)


def test_members_keep_their_order_whichever_thread_is_faster(
    sink: io.FileIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads = set()

    def slower_at_times(chunk: memoryview) -> tuple[bytes, int]:
        threads.add(threading.get_ident())
        if chunk[0] % 3 == 0:
            time.sleep(0.01)
        return compress(chunk)

    compress = member.compress
    monkeypatch.setattr(member, "compress", slower_at_times)
    data = random.Random(4).randbytes(20_000_000)
    assert feed(sink, data).reason is None
    assert gzip.decompress(stored(sink)) == data
    assert len(threads) == 2


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_thread_that_fails_leaves_no_hole(
    sink: io.FileIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails_in_the_second(chunk: memoryview) -> tuple[bytes, int]:
        if threading.current_thread() is not threading.main_thread():
            raise MemoryError
        return compress(chunk)

    compress = member.compress
    monkeypatch.setattr(member, "compress", fails_in_the_second)
    data = random.Random(5).randbytes(20_000_000)
    with pytest.raises(RuntimeError, match="thread"):
        feed(sink, data)
    assert data.startswith(gzip.decompress(stored(sink)))


def test_without_a_second_thread_one_does_it_all(
    sink: io.FileIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr("_thread.start_new_thread", refused)
    data = random.Random(6).randbytes(7_000_000)
    source, into = os.pipe()
    child = os.fork()
    if child == 0:
        write(into, data)
        os._exit(0)
    os.close(into)
    kernel = streams.Stream(source, b"", time.monotonic() + 60)
    result = stream.Copier(sink.fileno(), 2**40).copy(kernel)
    os.close(source)
    os.waitpid(child, 0)
    assert result.reason is None
    assert gzip.decompress(stored(sink)) == data


def test_chunks_of_zeros_are_holes_where_there_is_an_index(sink: io.FileIO, tmp_path: Path) -> None:
    noise = random.Random(7).randbytes(2 * member.CHUNK_BYTES)
    data = noise + bytes(5 * member.CHUNK_BYTES) + noise + bytes(3 * member.CHUNK_BYTES + 512)
    source, into = os.pipe()
    writer = threading.Thread(target=write, args=(into, data))
    writer.start()
    with io.FileIO(tmp_path / "core.index", "x") as journal:
        copier = stream.Copier(sink.fileno(), 2**40, journal=journal.fileno())
        result = copier.copy(streams.Stream(source, b"", time.monotonic() + 60))
    writer.join()
    os.close(source)
    index = core_index.build(result.size, copier.entries)
    (tmp_path / "core.index").write_bytes(index.data)
    core = indexed.unpack(tmp_path, tmp_path / "core")
    assert core.read_bytes() == data
    assert (result.size, result.data_size, result.members) == (len(data), 2 * len(noise), 4)
    assert result.crc32 == zlib.crc32(data)
    assert result.sparse_size == len(data) - 2 * len(noise)
    assert index.holes == 2


def test_a_journal_is_an_index_as_far_as_the_core_is_stored(
    sink: io.FileIO, tmp_path: Path
) -> None:
    data = random.Random(8).randbytes(3 * member.CHUNK_BYTES)
    source, into = os.pipe()
    os.close(into)
    with io.FileIO(tmp_path / "core.index", "x") as journal:
        copier = stream.Copier(sink.fileno(), 2**40, journal=journal.fileno())
        copier.copy(streams.Stream(source, data, time.monotonic() + 60))
    os.close(source)
    size, entries = core_index.recover((tmp_path / "core.index").read_bytes())
    assert (size, entries) == (0, copier.entries)
    assert [entry[0] for entry in entries] == [0, 1 << 20, 2 << 20]
