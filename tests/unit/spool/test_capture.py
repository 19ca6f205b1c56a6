"""Entries appear whole or not at all, in a directory that only we can write."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import dumps

from coredumpd import durable, errors
from coredumpd.formats import record as records
from coredumpd.spool import capture as writer


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[int]:
    fd = durable.open_directory(str(tmp_path / "spool"), create=True)
    yield fd
    os.close(fd)


def test_a_committed_capture_is_an_entry_with_core_and_record(spool: int, tmp_path: Path) -> None:
    _, crash, _ = dumps.make()
    capture = writer.Capture.create(spool, crash.id, "shop")
    os.write(capture.core, b"core")
    capture.note(crash)
    assert sorted(os.listdir(tmp_path / "spool")) == [crash.id + ".part"]
    capture.commit(crash)
    entry = tmp_path / "spool" / crash.id
    assert sorted(os.listdir(tmp_path / "spool")) == [crash.id]
    assert records.CrashRecord.parse((entry / "meta.json").read_bytes()).id == crash.id
    assert (entry / "core.gz").read_bytes() == b"core"
    assert (entry / "core.gz").stat().st_mode & 0o777 == 0o600
    assert sorted(os.listdir(entry)) == ["core.gz", "meta.json", "tenant.shop"]
    capture.close()


def test_an_id_in_use_is_refused(spool: int) -> None:
    writer.Capture.create(spool, "a", "shop").close()
    with pytest.raises(errors.AlreadyExists):
        writer.Capture.create(spool, "a", "shop")


def test_a_capture_in_progress_cannot_be_reopened(spool: int) -> None:
    capture = writer.Capture.create(spool, "a", "shop")
    with pytest.raises(errors.Conflict, match="being written"):
        writer.Capture.reopen(spool, "a")
    capture.close()
    writer.Capture.reopen(spool, "a").close()


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o777])
def test_a_directory_that_others_can_write_is_refused(tmp_path: Path, mode: int) -> None:
    (tmp_path / "spool").mkdir()
    (tmp_path / "spool").chmod(mode)
    with pytest.raises(errors.Forbidden, match="writable by nobody else"):
        durable.open_directory(str(tmp_path / "spool"))


def test_a_link_to_a_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "spool").symlink_to("/tmp")
    with pytest.raises(errors.Forbidden, match="not a link"):
        durable.open_directory(str(tmp_path / "spool"), create=True)


def test_a_directory_of_another_user_is_refused(tmp_path: Path) -> None:
    (tmp_path / "spool").mkdir(mode=0o700)
    os.chown(tmp_path / "spool", 65534, 65534)
    with pytest.raises(errors.Forbidden):
        durable.open_directory(str(tmp_path / "spool"))


def test_a_file_where_the_spool_should_be_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "spool").write_text("")
    with pytest.raises(errors.StorageError, match="Not a directory"):
        durable.open_directory(str(tmp_path / "spool"), create=True)
