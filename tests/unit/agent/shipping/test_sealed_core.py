from __future__ import annotations

import gzip
import io
import os
import subprocess
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as some
from support import dumps, keys, sparse

from coredumpd import errors, sealing
from coredumpd.agent.shipping import sealed_core
from coredumpd.gzipio import check
from coredumpd.spool import entries


@given(some.lists(some.integers(0, 3000), max_size=6))
def test_whatever_is_written_comes_back_from_members_of_bounded_size(tmp_path_factory, sizes):
    with (tmp_path_factory.mktemp("members") / "file").open("w+b", buffering=0) as file:
        members = sealed_core.Members(file, 1000)
        data = b"".join(bytes([number]) * size for number, size in enumerate(sizes))
        for number, size in enumerate(sizes):
            members.write(bytes([number]) * size)
        members.end()
        file.seek(0)
        stored = file.read()
    assert gzip.decompress(stored) == data
    assert (members.size, members.stored_size) == (len(data), len(stored))
    assert members.count == max(1, -(-len(data) // 1000))
    _, crash, _ = dumps.make(data)
    crash.raw["core"]["storedSize"] = len(stored)
    reader = check.checked(io.BytesIO(stored), crash)
    assert b"".join(iter(lambda: reader.read(100_000), b"")) == stored


def test_a_large_core_is_sealed_in_memory_that_does_not_grow(tmp_path: Path) -> None:
    size = 32 * 1024 * 1024
    dumps.spooled(tmp_path / "spool", "app-1", core=os.urandom(size // 8) * 8)
    (entry,) = entries.Spool(str(tmp_path / "spool")).entries()
    recipients = sealing.recipients(keys.age().recipient)
    tracemalloc.start()
    try:
        sealed = sealed_core.seal(entry, entry.record(), recipients)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert sealed.content[0] > size
    assert peak < 16 * 1024 * 1024


def test_of_a_sealed_crash_only_the_core_has_the_address_of_the_fault(tmp_path: Path) -> None:
    signal = {"number": 11, "name": "SIGSEGV", "code": 1, "address": "0x4142434445464748"}
    dumps.spooled(tmp_path / "spool", "app-1", signal=signal)
    (entry,) = entries.Spool(str(tmp_path / "spool")).entries()
    sealed_core.seal(entry, entry.record(), sealing.recipients(keys.age().recipient))
    (entry,) = entries.Spool(str(tmp_path / "spool")).entries()
    assert entry.record().raw["signal"] == {"number": 11, "name": "SIGSEGV", "code": 1}


def test_a_core_with_holes_is_sealed_as_a_sparse_file_in_a_tar(tmp_path: Path) -> None:
    parts = {0: b"head" * 1024, 2**30: b"stack" * 4096}
    made = sparse.make(parts, 2**33, [2**30, 0])
    path = sparse.spooled(tmp_path / "spool", made)
    (entry,) = entries.Spool(str(tmp_path / "spool")).entries()
    pair = keys.age()
    record = sealed_core.seal(entry, entry.record(), sealing.recipients(pair.recipient))
    assert sorted(os.listdir(path)) == ["core.gz", "meta.json"]
    assert entry.record().raw == record.raw
    assert (record.index, record.core_name) == (None, "core.tar.gz.age")
    assert record.raw["core"]["crc32"] == made[1].raw["core"]["crc32"]
    with entry.open_core() as core:
        checked = check.checked(core, record)
        stored = b"".join(iter(lambda: checked.read(65536), b""))
    archive = io.BytesIO()
    sealing.open(io.BytesIO(gzip.decompress(stored)), archive, sealing.identities(pair.identity))
    (tmp_path / "core.tar.gz").write_bytes(archive.getvalue())
    subprocess.run(["tar", "-xzf", tmp_path / "core.tar.gz", "-C", tmp_path], check=True)
    assert (tmp_path / "core").stat().st_size == 2**33
    assert (tmp_path / "core").stat().st_blocks * 512 < 2**20
    with (tmp_path / "core").open("rb") as file:
        assert file.read(4096) == parts[0]
        file.seek(2**30)
        assert file.read(5 * 4096) == parts[2**30]


def test_a_damaged_core_with_holes_is_not_sealed(tmp_path: Path) -> None:
    path = sparse.spooled(tmp_path / "spool", sparse.make({0: b"head" * 1024}, 2**33))
    stored = bytearray((path / "core.gz").read_bytes())
    stored[-6] ^= 1
    (path / "core.gz").write_bytes(stored)
    (entry,) = entries.Spool(str(tmp_path / "spool")).entries()
    with pytest.raises(errors.BadRecord, match="damaged"):
        sealed_core.seal(entry, entry.record(), sealing.recipients(keys.age().recipient))
    assert sorted(os.listdir(path)) == ["core.gz", "core.index", "meta.json"]
