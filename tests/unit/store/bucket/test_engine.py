from __future__ import annotations

import obstore
import pytest
from obstore import store as obstores
from support import dumps

from coredumpd import errors
from coredumpd.store.bucket import engine


@pytest.fixture
def objects():
    return obstores.MemoryStore()


@pytest.fixture
def store(objects):
    return engine.BucketStore("memory://", objects, objects)


def paths(objects):
    return sorted(item["path"] for page in obstore.list(objects) for item in page)


def test_the_keys_are_the_paths_of_a_directory_store(store, objects):
    key, record, core = dumps.make()
    store.commit(key, record, core)
    assert paths(objects) == [f"{key}/core.gz", f"{key}/meta.json"]


def test_a_core_without_its_record_is_no_dump_and_the_next_commit_replaces_it(store, objects):
    key, record, core = dumps.make()
    obstore.put(objects, f"{key}/core.gz", b"half")
    assert list(store.list()) == []
    with pytest.raises(errors.NotFound):
        store.open_core(key)
    store.commit(key, record, core)
    assert store.open_core(key).read_at(0, 1 << 20) == core.getvalue()


def test_bytes_that_do_not_read_back_are_never_published(store, objects, monkeypatch):
    key, record, core = dumps.make(b"x" * 1000)
    put = obstore.put

    def rot(client, path, data, **options):
        if path.endswith("core.gz"):
            data = b"rot" + bytes(data)[3:]
        return put(client, path, data, **options)

    monkeypatch.setattr(engine.obstore, "put", rot)
    with pytest.raises(errors.StorageError, match="read back"):
        store.commit(key, record, core)
    assert list(store.list()) == []


def test_a_record_that_is_garbage_is_moved_aside_and_the_dump_committed(store, objects, caplog):
    key, record, core = dumps.make()
    obstore.put(objects, f"{key}/meta.json", b"\xff")
    store.commit(key, record, core)
    assert store.read_record(key).id == key.id
    assert any(path.endswith(".bad") for path in paths(objects))
    assert "moved aside" in caplog.text


def test_garbage_is_skipped_with_a_log_line(store, objects, caplog):
    key, record, core = dumps.make()
    store.commit(key, record, core)
    for path in ("readme.txt", "a/b/c/d/e/meta.json", "Team/u/c/i/meta.json"):
        obstore.put(objects, path, b"?")
    bad = dumps.make(b"bad", pid=7)
    store.commit(*bad)
    obstore.put(objects, f"{bad[0]}/meta.json", b"\xff not json")
    assert [found for found, _ in store.scan()] == [key]
    assert "not a dump, skipped" in caplog.text
    assert f"unreadable dump skipped: {bad[0]}" in caplog.text


def test_deleting_removes_every_object_of_the_dump(store, objects):
    key, record, core = dumps.make()
    store.commit(key, record, core)
    obstore.put(objects, f"{key}/backtrace.txt", b"#0")
    store.delete(key)
    assert paths(objects) == []


def test_a_core_replaced_while_it_is_open_fails_and_never_mixes(store, objects):
    key, record, core = dumps.make(bytes(range(256)) * 4000)
    store.commit(key, record, core)
    opened = store.open_core(key)
    obstore.put(objects, f"{key}/core.gz", b"other" * 1000)
    with pytest.raises(errors.StorageError):
        opened.read_at(0, 10)


def during_the_put_of(monkeypatch, name, act):
    """`act` once, just before the first put of an object called `name`."""
    put, left = obstore.put, [act]

    def meddled(client, path, data, **options):
        if left and path.endswith(name):
            left.pop()()
        return put(client, path, data, **options)

    monkeypatch.setattr(engine.obstore, "put", meddled)


def rival(record):
    """Another dump under the key of `record`."""
    _, other, core = dumps.make(b"the rival's memory")
    other.raw["id"] = record.id
    return other, core


def test_a_rival_that_publishes_first_keeps_its_dump(store, monkeypatch):
    key, record, core = dumps.make(b"ours")
    other, other_core = rival(record)
    during_the_put_of(monkeypatch, "meta.json", lambda: store.commit(key, other, other_core))
    with pytest.raises(errors.AlreadyExists):
        store.commit(key, record, core)
    assert store.read_record(key).raw["core"]["size"] == len(b"the rival's memory")
    assert store.open_core(key).read_at(0, 1000) == other_core.getvalue()


def test_a_record_is_withdrawn_when_its_core_was_replaced_meanwhile(store, objects, monkeypatch):
    key, record, core = dumps.make(b"ours")
    theirs = rival(record)[1].getvalue()
    during_the_put_of(
        monkeypatch,
        "meta.json",
        lambda: objects.put(f"{key}/core.gz", theirs),
    )
    with pytest.raises(errors.StorageError, match="replaced meanwhile"):
        store.commit(key, record, core)
    assert list(store.list()) == []
    core.seek(0)
    store.commit(key, record, core)
    assert store.open_core(key).read_at(0, 1000) == core.getvalue()


def test_a_record_is_withdrawn_when_its_core_was_deleted_meanwhile(store, objects, monkeypatch):
    key, record, core = dumps.make(b"ours")
    during_the_put_of(monkeypatch, "meta.json", lambda: objects.delete(f"{key}/core.gz"))
    with pytest.raises(errors.StorageError, match="deleted or replaced"):
        store.commit(key, record, core)
    assert paths(objects) == []


def test_scan_reads_many_records_in_order(store):
    keys = []
    for pid in range(100):
        dump = dumps.make(str(pid).encode(), pid=pid)
        store.commit(*dump)
        keys.append(dump[0])
    assert [key for key, _ in store.scan()] == sorted(keys, key=str)
