from __future__ import annotations

import pytest
from support import dumps

from coredumpd import errors
from coredumpd.store.directory import engine


@pytest.fixture
def store(tmp_path):
    return engine.DirectoryStore(str(tmp_path))


def test_files_shows_what_a_listing_hides(store, tmp_path):
    key, entry, core = dumps.make()
    store.commit(key, entry, core)
    parent = tmp_path / key.namespace / key.pod_uid / key.container
    (parent / ".x.dead.part").mkdir()
    (parent / ".x.dead.part" / "core.gz").write_bytes(b"half")
    (parent / ".empty.dead.part").mkdir()
    (tmp_path / "link").symlink_to("/etc")
    base = f"{key.namespace}/{key.pod_uid}/{key.container}"
    assert [file.path for file in store.files()] == [
        "link",
        f"{base}/.empty.dead.part/",
        f"{base}/.x.dead.part/core.gz",
        f"{key}/core.gz",
        f"{key}/meta.json",
    ]


def test_a_tree_that_never_ends_is_walked_a_bounded_depth(store, tmp_path):
    deep = tmp_path.joinpath(*["d"] * 40)
    deep.mkdir(parents=True)
    (deep / "file").write_bytes(b"")
    assert list(store.files()) == []


def test_discarding_the_last_file_removes_the_empty_directories(store, tmp_path):
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "a/b/file").write_bytes(b"")
    (tmp_path / "a/empty").mkdir()
    store.discard("a/b/file")
    assert [file.path for file in store.files()] == ["a/empty/"]
    store.discard("a/empty/")
    assert list(tmp_path.iterdir()) == []


def test_discarding_a_symlink_leaves_what_it_names(store, tmp_path, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "file").write_bytes(b"kept")
    (tmp_path / "link").symlink_to(elsewhere)
    with pytest.raises(errors.StorageError):
        store.discard("link/file")
    store.discard("link")
    assert (elsewhere / "file").read_bytes() == b"kept"
