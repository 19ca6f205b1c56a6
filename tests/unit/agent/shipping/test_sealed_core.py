from __future__ import annotations

import gzip
import io
import os
import tracemalloc
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as some
from support import dumps, keys

from coredumpd import sealing
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
