from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from coredumpd import durable, errors


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[int]:
    descriptor = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    yield descriptor
    os.close(descriptor)


def test_a_whole_file_replaces_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "file"
    for data in (b"first", b"second"):
        durable.write_whole(path, data)
        assert path.read_bytes() == data
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert os.listdir(tmp_path) == ["file"]


def test_what_a_killed_writer_left_is_in_nobodys_way(tmp_path: Path, directory: int) -> None:
    (tmp_path / "file.new").symlink_to("/etc/passwd")
    durable.write_whole_at("file", directory, b"data")
    assert (tmp_path / "file").read_bytes() == b"data"
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize("sync", [True, False])
def test_mode_and_temporary_name_are_the_writers(tmp_path, directory, monkeypatch, sync) -> None:
    renamed = []
    rename = os.rename

    def record(source, target, **directories):
        renamed.append((source, target))
        rename(source, target, **directories)

    monkeypatch.setattr(os, "rename", record)
    before = os.umask(0)
    try:
        durable.write_whole_at("file", directory, b"x", mode=0o660, sync=sync, temporary="file.7")
    finally:
        os.umask(before)
    assert renamed == [("file.7", "file")]
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o660


def test_a_file_that_cannot_be_written_is_a_storage_error(tmp_path: Path) -> None:
    with pytest.raises(errors.StorageError, match=r"cannot write .*missing/file: No such file"):
        durable.write_whole(tmp_path / "missing" / "file", b"")


def test_a_write_that_fails_leaves_the_old_file(tmp_path, directory, monkeypatch) -> None:
    durable.write_whole_at("file", directory, b"old")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(durable, "write_all", full)
    with pytest.raises(OSError, match="No space left"):
        durable.write_whole_at("file", directory, b"new")
    assert (tmp_path / "file").read_bytes() == b"old"


def test_only_regular_files_with_one_name_are_opened(tmp_path: Path, directory: int) -> None:
    (tmp_path / "file").write_bytes(b"data")
    os.close(durable.open_regular("file", directory))
    (tmp_path / "link").symlink_to("file")
    with pytest.raises(OSError, match="symbolic links"):
        durable.open_regular("link", directory)
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(durable.NotRegularError):
        durable.open_regular("fifo", directory)
    (tmp_path / "second").hardlink_to(tmp_path / "file")
    with pytest.raises(durable.NotRegularError):
        durable.open_regular("file", directory)
    os.close(durable.open_regular("file", directory, hard_links=True))


def test_a_new_file_is_nobody_elses(tmp_path: Path, directory: int) -> None:
    descriptor = durable.create_file("file", directory, readable=True)
    durable.write_all(descriptor, b"data")
    assert os.pread(descriptor, 10, 0) == b"data"
    os.close(descriptor)
    with pytest.raises(FileExistsError):
        durable.create_file("file", directory)
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FileExistsError):
        durable.write_new("link", directory, b"data")
    assert not (tmp_path / "elsewhere").exists()


def test_a_flat_directory_is_removed_once(tmp_path: Path, directory: int) -> None:
    (tmp_path / "flat").mkdir()
    (tmp_path / "flat" / "file").touch()
    durable.remove_flat("flat", directory)
    durable.remove_flat("flat", directory)
    assert os.listdir(tmp_path) == []


def test_a_link_is_not_a_directory_to_remove(tmp_path: Path, directory: int) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "file").touch()
    (tmp_path / "link").symlink_to("precious")
    with pytest.raises(OSError, match=r"Not a directory|symbolic links"):
        durable.remove_flat("link", directory)
    assert (tmp_path / "precious" / "file").exists()


def test_a_directory_must_be_ours_alone(tmp_path: Path) -> None:
    os.close(durable.open_directory(str(tmp_path / "new"), create=True))
    (tmp_path / "new").chmod(0o770)
    with pytest.raises(errors.Forbidden, match="writable by nobody else"):
        durable.open_directory(str(tmp_path / "new"))
