from __future__ import annotations

import os

import pytest
from support import dumps

from coredumpd import errors
from coredumpd.formats import layout
from coredumpd.store.directory import engine


def test_the_layout_is_namespace_uid_container_id(store, root):
    key, record, core = dumps.make()
    store.commit(key, record, core)
    found = sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())
    assert found == [f"{key}/core.gz", f"{key}/meta.json"]


def test_a_missing_root_is_an_error_not_an_empty_store(tmp_path):
    store = engine.DirectoryStore(str(tmp_path / "not-mounted"))
    for call in (lambda: list(store.list()), lambda: store.commit(*dumps.make())):
        with pytest.raises(errors.StorageError, match="not-mounted is not there"):
            call()
    with pytest.raises(errors.StorageError, match="not there"):
        store.read_record(dumps.make()[0])


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_a_planted_symlink_is_never_followed(store, root, tmp_path, depth):
    key, record, core = dumps.make()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    names = str(key).split("/")
    link = root.joinpath(*names[:depth])
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(elsewhere)
    with pytest.raises(errors.StorageError):
        store.commit(key, record, core)
    assert list(elsewhere.iterdir()) == []
    assert list(store.list()) == []


def test_a_dump_that_is_a_symlink_is_neither_read_nor_listed_nor_deleted(store, root, tmp_path):
    key, record, core = dumps.make()
    store.commit(key, record, core)
    real = root / str(key)
    moved = tmp_path / "moved"
    real.rename(moved)
    real.symlink_to(moved)
    assert list(store.list()) == []
    for call in (store.read_record, store.open_core):
        with pytest.raises(errors.StorageError):
            call(key)
    with pytest.raises(errors.StorageError):
        store.commit(key, record, core)
    with pytest.raises(errors.StorageError):
        store.delete(key)
    assert sorted(path.name for path in moved.iterdir()) == ["core.gz", "meta.json"]


@pytest.mark.parametrize("name", ["core.gz", "meta.json"])
def test_a_file_that_is_a_symlink_or_a_fifo_is_refused(store, root, name):
    key, record, core = dumps.make()
    store.commit(key, record, core)
    path = root / str(key) / name
    read = store.open_core if name == "core.gz" else store.read_record
    path.unlink()
    path.symlink_to("/etc/passwd")
    with pytest.raises(errors.StorageError):
        read(key)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(errors.StorageError):
        read(key)


def test_garbage_is_skipped_with_a_log_line(store, root, caplog):
    key, record, core = dumps.make()
    store.commit(key, record, core)
    (root / "lost+found").mkdir()
    (root / "lost+found" / "x" / "y" / "z").mkdir(parents=True)
    (root / "a-file").write_bytes(b"?")
    bad = dumps.make(b"bad", pid=7)
    store.commit(*bad)
    (root / str(bad[0]) / "meta.json").write_bytes(b"\xff not json")
    (root / str(key.namespace) / key.pod_uid / key.container / "no-meta").mkdir()
    assert [found for found, _ in store.scan()] == [key]
    assert "not a dump, skipped" in caplog.text
    assert f"unreadable dump skipped: {bad[0]}" in caplog.text


def test_deleting_the_last_dump_removes_the_empty_directories(store, root):
    key, record, core = dumps.make()
    store.commit(key, record, core)
    store.delete(key)
    assert list(root.iterdir()) == []


def test_an_open_core_survives_its_deletion(store):
    key, record, core = dumps.make(b"still here")
    store.commit(key, record, core)
    opened = store.open_core(key)
    store.delete(key)
    assert opened.read_at(0, opened.size) == core.getvalue()
    opened.close()


def test_a_key_cannot_be_made_of_hostile_names():
    for names in (("..", "u", "c", "i"), ("n", "..", "c", "i"), ("n", "u", "c/d", "i")):
        with pytest.raises(errors.Invalid):
            layout.DumpKey(*names)
