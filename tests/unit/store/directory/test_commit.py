from __future__ import annotations

import os

import pytest
from support import dumps

from coredumpd import errors


def test_a_part_is_invisible_and_the_next_commit_removes_it(store, root):
    key, record, core = dumps.make()
    parent = root / key.namespace / key.pod_uid / key.container
    part = parent / f".{key.id}.deadbeef.part"
    part.mkdir(parents=True)
    (part / "core.gz").write_bytes(b"half")
    assert list(store.list()) == []
    store.commit(key, record, core)
    assert [path.name for path in parent.iterdir()] == [key.id]


def test_a_torn_dump_is_moved_aside_and_committed_again(store, root, caplog):
    key, record, core = dumps.make()
    torn = root / str(key)
    torn.mkdir(parents=True)
    (torn / "meta.json").write_bytes(b"")
    store.commit(key, record, core)
    assert store.read_record(key).id == key.id
    assert [path.suffix for path in torn.parent.iterdir() if path.name.startswith(".")] == [".bad"]
    assert "moved aside" in caplog.text


def test_what_was_written_is_read_back_and_compared(store, monkeypatch):
    def rot(descriptor, *_):
        os.pwrite(descriptor, b"rot", 3)

    monkeypatch.setattr(os, "posix_fadvise", rot)
    with pytest.raises(errors.StorageError, match="read back"):
        store.commit(*dumps.make(b"written"))
    assert list(store.list()) == []


def test_a_full_disk_is_a_storage_error_that_leaves_no_part(store, root, monkeypatch):
    def full(fd):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    key, record, core = dumps.make()
    (root / key.namespace / key.pod_uid / key.container).mkdir(parents=True)
    with pytest.raises(errors.StorageError, match="No space left"):
        store.commit(key, record, core)
    monkeypatch.undo()
    assert [path for path in root.rglob("*") if path.is_file()] == []


def test_another_commit_of_the_same_dump_that_was_faster_is_success(store, root, monkeypatch):
    key, record, core = dumps.make()
    rename = os.rename

    def overtaken(*arguments, **directories):
        monkeypatch.undo()
        store.commit(*dumps.make())
        rename(*arguments, **directories)

    monkeypatch.setattr(os, "rename", overtaken)
    store.commit(key, record, core)
    assert [path.name for path in (root / str(key)).parent.iterdir()] == [key.id]


def test_a_parent_that_is_removed_meanwhile_is_made_again(store, root, monkeypatch):
    key, record, core = dumps.make()
    mkdir, parent = os.mkdir, (root / str(key)).parent

    def undone(name, *arguments, **directories):
        if name.endswith(".part"):
            monkeypatch.undo()
            parent.rmdir()
        mkdir(name, *arguments, **directories)

    monkeypatch.setattr(os, "mkdir", undone)
    store.commit(key, record, core)
    assert store.read_record(key).id == key.id
