"""A core from a living process's memory, with headers as the kernel writes them."""

from __future__ import annotations

import gzip
import os
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import indexed

from coredumpd.formats import core_index
from coredumpd.handler.memory import access, plan, source
from coredumpd.spool import copier, stream

PROGRAM = """
import mmap, sys
data = bytearray(bytes(range(256)) * 4 * 8192)
sparse = mmap.mmap(-1, 256 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
sparse[100 << 20 : (100 << 20) + 5] = b"there"
print(flush=True)
sys.stdin.read()
"""


@pytest.fixture
def victim() -> Iterator[subprocess.Popen[bytes]]:
    words = [sys.executable, "-c", PROGRAM]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process
        process.kill()


def memory(process: subprocess.Popen[bytes]) -> access.Memory:
    directory = os.open(f"/proc/{process.pid}", os.O_RDONLY)
    try:
        return access.Memory(directory, process.pid)
    finally:
        os.close(directory)


def headers(process: subprocess.Popen[bytes], kind: int = 1) -> bytes:
    """The bytes before the memory in a core of all that is readable; `kind`: the last segment's."""
    parts = []
    for line in Path(f"/proc/{process.pid}/maps").read_text().splitlines():
        addresses, rights = line.split()[:2]
        start, end = (int(word, 16) for word in addresses.split("-"))
        if rights[0] == "r" and start < 2**63 and "[v" not in line:
            parts.append((start, end - start))
    count = 1 + len(parts)
    notes_at = 64 + 56 * count
    offset = (notes_at + 20 + 4095) // 4096 * 4096
    head = struct.pack(
        "<16sHHIQQQIHHHHHH",
        b"\x7fELF\x02\x01\x01",
        4,
        62,
        1,
        0,
        64,
        0,
        0,
        *(64, 56, count, 0, 0, 0),
    )
    head += struct.pack("<IIQQQQQQ", 4, 0, notes_at, 0, 0, 20, 0, 4)
    for number, (address, size) in enumerate(parts):
        type = kind if number == len(parts) - 1 else 1
        head += struct.pack("<IIQQQQQQ", type, 6, offset, address, 0, size, size, 4096)
        offset += size
    head += struct.pack("<III", 5, 0, 3) + b"CORE\0\0\0\0"
    return head.ljust((len(head) + 4095) // 4096 * 4096, b"\0")


class Capture:
    """One copy of a stream, and of memory if it may be, into `directory`."""

    def __init__(
        self,
        directory: Path,
        sent: bytes,
        read: access.Memory,
        size_max: int = 2**40,
        has_index: bool = True,
    ) -> None:
        reader, into = os.pipe()
        if os.fork() == 0:
            os.close(reader)
            with open(into, "wb") as sink:
                sink.write(sent)
                sink.flush()
                os._exit(0)
        os.close(into)
        kernel = stream.Stream(reader, os.read(reader, 65536), time.monotonic() + 60)
        self.source = source.Source(kernel, read, has_index)
        with (
            (directory / "core.gz").open("wb") as core,
            (directory / "journal").open("wb") as journal,
        ):
            descriptor = journal.fileno() if has_index else None
            copying = copier.Copier(core.fileno(), size_max, journal=descriptor)
            self.result = copying.copy(self.source)
        os.close(reader)
        os.wait()
        if has_index:
            index = core_index.build(self.result.size, copying.entries)
            (directory / "core.index").write_bytes(index.data)
            self.core = indexed.unpack(directory, directory / "core")
        else:
            self.core = directory / "core"
            self.core.write_bytes(gzip.decompress((directory / "core.gz").read_bytes()))


@pytest.mark.parametrize("has_index", [True, False])
def test_memory_is_stored_and_its_holes_where_there_is_no_index(
    victim: subprocess.Popen[bytes], tmp_path: Path, has_index: bool
) -> None:
    head = headers(victim)
    read = memory(victim)
    done = Capture(tmp_path, head, read, has_index=has_index)
    assert (done.source.from_memory, done.source.fallback) == (True, None)
    assert done.result.reason is None
    assert done.core.read_bytes()[: len(head)] == head
    assert done.result.crc32 == indexed.crc32(done.core)
    assert done.result.size == done.core.stat().st_size > 256 << 20
    assert (done.result.data_size < 64 << 20) == has_index
    assert done.result.stored_size == (tmp_path / "core.gz").stat().st_size < 8 << 20
    table = done.source.prologue.segments
    assert table is not None
    with done.core.open("rb") as core:
        for segment in table:
            if segment.type == 1:
                buffer = bytearray(segment.filesz)
                read.read(segment.vaddr, memoryview(buffer))
                core.seek(segment.offset)
                assert core.read(segment.filesz) == buffer


def test_a_limit_counts_data_and_leaves_the_core_its_size(
    victim: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    done = Capture(tmp_path, headers(victim), memory(victim), size_max=1_000_000)
    assert done.result.reason == stream.MAX_SIZE
    assert 990_000 < done.result.data_size <= 1_000_000
    assert done.result.size == done.core.stat().st_size > 256 << 20


def test_without_an_index_a_limit_cuts_the_core_at_exactly_that_byte(
    victim: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    done = Capture(tmp_path, headers(victim), memory(victim), size_max=5_000_001, has_index=False)
    assert done.result.reason == stream.MAX_SIZE
    assert done.result.size == done.core.stat().st_size == 5_000_001
    assert done.result.crc32 == indexed.crc32(done.core)


def test_a_process_killed_meanwhile_leaves_a_cut_core_that_says_so(
    victim: subprocess.Popen[bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = access.Memory.read
    reads = []

    def read(self: access.Memory, address: int, buffer: memoryview) -> None:
        reads.append(address)
        if len(reads) == 4:
            victim.kill()
            victim.wait()
        real(self, address, buffer)

    monkeypatch.setattr(access.Memory, "read", read)
    done = Capture(tmp_path, headers(victim), memory(victim))
    assert done.result.reason == source.KILLED
    assert done.result.data_size > 0


def test_pages_of_a_process_killed_meanwhile_are_not_taken_for_holes(
    victim: subprocess.Popen[bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killing(*_: object) -> Iterator[plan.Chunk]:
        """As the plan is when the process ends before its pages are asked for."""
        victim.kill()
        victim.wait()
        yield from ()

    monkeypatch.setattr(plan, "chunks", killing)
    done = Capture(tmp_path, headers(victim), memory(victim))
    assert done.result.reason == source.KILLED


@pytest.mark.parametrize("sent", [b"x" * 100_000, b"\x7fELF"])
def test_no_core_comes_from_the_stream(
    victim: subprocess.Popen[bytes], tmp_path: Path, sent: bytes
) -> None:
    done = Capture(tmp_path, sent, memory(victim))
    assert (done.source.from_memory, done.source.fallback) == (False, source.NO_CORE)
    assert done.core.read_bytes() == sent


def test_segments_of_another_kind_come_from_the_stream(
    victim: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    sent = headers(victim, kind=0x70000002) + b"y" * 300_000
    done = Capture(tmp_path, sent, memory(victim))
    assert (done.source.from_memory, done.source.fallback) == (False, source.FOREIGN)
    assert done.core.read_bytes() == sent
    assert done.result.reason == stream.SHORT


def test_a_small_core_comes_from_the_stream(
    victim: subprocess.Popen[bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source, "MEMORY_BYTES_MIN", 2**40)
    done = Capture(tmp_path, headers(victim), memory(victim))
    assert (done.source.from_memory, done.source.fallback) == (False, source.SMALL)


def test_memory_that_is_gone_is_asked_of_the_stream(
    victim: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    sent = headers(victim) + b"y" * 300_000
    read = memory(victim)
    victim.kill()
    victim.wait()
    done = Capture(tmp_path, sent, read)
    assert (done.source.from_memory, done.source.fallback) == (False, source.GONE)
    assert done.core.read_bytes() == sent


@pytest.mark.parametrize("error", [1, 5, 13])
def test_memory_that_may_not_be_read_is_asked_of_the_stream(
    victim: subprocess.Popen[bytes],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: int,
) -> None:
    def refused(*_: object) -> None:
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr(access.Memory, "probe", refused)
    sent = headers(victim) + b"y" * 300_000
    done = Capture(tmp_path, sent, memory(victim))
    assert done.source.fallback == f"its memory cannot be read: {os.strerror(error)}"
    assert done.core.read_bytes() == sent
