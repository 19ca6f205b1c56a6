from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from support import dumps

from coredumpd.formats import layout
from coredumpd.server.dumps import in_use
from coredumpd.store import engines as stores


@pytest.fixture
def store(tmp_path: Path) -> in_use.CountingStore:
    return in_use.CountingStore(stores.open_store(tmp_path.as_uri()))


@pytest.fixture
def key(store: in_use.CountingStore) -> layout.DumpKey:
    key, record, core = dumps.make()
    store.commit(key, record, core)
    return key


def test_a_dump_is_in_use_until_its_last_reader_has_closed_it(
    store: in_use.CountingStore, key: layout.DumpKey
) -> None:
    with contextlib.closing(store.open_core(key)):
        with contextlib.closing(store.open_core(key)) as core:
            assert core.read_at(0, 2) == b"\x1f\x8b"
        assert store.in_use() == {key}
    assert store.in_use() == set()


def test_a_core_that_is_closed_twice_is_counted_once(
    store: in_use.CountingStore, key: layout.DumpKey
) -> None:
    first, second = store.open_core(key), store.open_core(key)
    first.close()
    first.close()
    assert store.in_use() == {key}
    second.close()
    assert store.in_use() == set()


def test_a_method_that_no_server_needs_is_not_there(store: in_use.CountingStore) -> None:
    assert not hasattr(store, "discard")
