from __future__ import annotations

import os

import pytest

from coredumpd.store.directory import tree


def test_a_missing_directory_is_made_step_by_step(tmp_path):
    with tree.made_directory(str(tmp_path), "a", "b") as directory:
        assert os.fstat(directory).st_ino == (tmp_path / "a/b").stat().st_ino
    with tree.made_directory(str(tmp_path), "a", "b"):
        pass  # a second time, nothing is missing


@pytest.mark.parametrize("reach", [tree.directory, tree.made_directory])
def test_no_step_follows_a_symlink(tmp_path, reach):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "link").symlink_to("elsewhere")
    with pytest.raises(OSError), reach(str(tmp_path), "link"):  # noqa: PT011 (ELOOP or ENOTDIR)
        pass


def test_the_root_may_be_a_symlink(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path)
    with tree.directory(str(tmp_path / "link")) as directory:
        assert tree.names(directory) == []


def test_only_a_regular_file_is_opened(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "link").symlink_to("file")
    os.mkfifo(tmp_path / "fifo")
    with tree.directory(str(tmp_path)) as directory:
        os.close(tree.open_file("file", directory))
        for name in ("link", "fifo", "missing"):
            with pytest.raises(OSError):  # noqa: PT011 (each has its own errno)
                tree.open_file(name, directory)


def test_a_file_is_created_once(tmp_path):
    with tree.directory(str(tmp_path)) as directory:
        os.close(tree.create_file("file", directory))
        with pytest.raises(FileExistsError):
            tree.create_file("file", directory)


def test_only_directories_are_listed_by_name(tmp_path):
    (tmp_path / "dump").mkdir()
    (tmp_path / "file").touch()
    with tree.directory(str(tmp_path)) as directory:
        assert tree.names(directory) == ["dump"]
