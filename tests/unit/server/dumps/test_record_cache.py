from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from support import clock as clocks
from support import dumps

from coredumpd import errors
from coredumpd.formats import layout
from coredumpd.formats import record as records
from coredumpd.server.dumps import record_cache


class Reader:
    """Reads from memory, and counts."""

    def __init__(self, count: int) -> None:
        made = [dumps.make(pid=pid)[:2] for pid in range(count)]
        self.records: dict[layout.DumpKey, Any] = dict(made)
        self.keys = list(self.records)
        self.read = 0

    def __call__(self, key: layout.DumpKey) -> records.CrashRecord:
        self.read += 1
        record = self.records[key]
        if isinstance(record, Exception):
            raise record
        return record  # type: ignore[no-any-return]


@pytest.fixture
def make() -> Iterator[Callable[[clocks.Clock], record_cache.RecordCache]]:
    caches = []

    def make_(clock: clocks.Clock) -> record_cache.RecordCache:
        caches.append(record_cache.RecordCache(clock))
        return caches[-1]

    yield make_
    for cache in caches:
        cache.close()


@pytest.mark.parametrize("count", [1, 20])
def test_a_record_is_read_once_a_minute(make, count: int) -> None:
    clock, reader = clocks.Clock(1000.0), Reader(count)
    cache = make(clock)
    for _ in range(2):
        assert list(cache.read(reader.keys, reader)) == reader.keys
    assert reader.read == count
    remembered = cache.remembered(reader.keys[0])
    assert remembered is not None
    assert remembered.raw == reader.records[reader.keys[0]].raw
    clock.now_s += record_cache.TRUST_S + 1
    assert cache.remembered(reader.keys[0]) is None
    cache.read(reader.keys, reader)
    assert reader.read == 2 * count


def test_what_is_gone_or_unreadable_is_left_out(make, caplog) -> None:
    reader = Reader(3)
    reader.records[reader.keys[0]] = errors.NotFound("gone")
    reader.records[reader.keys[1]] = errors.BadRecord("no record")
    assert list(make(clocks.Clock(1000.0)).read(reader.keys, reader)) == [reader.keys[2]]
    assert "no record" in caplog.text


def test_a_store_that_fails_is_told(make) -> None:
    reader = Reader(1)
    reader.records[reader.keys[0]] = errors.StorageError("away")
    with pytest.raises(errors.StorageError):
        make(clocks.Clock(1000.0)).read(reader.keys, reader)
