from __future__ import annotations

import gzip
import os
from pathlib import Path

import pytest
from support import dumps

from coredumpd import errors
from coredumpd.spool import entries


@pytest.fixture
def spool(tmp_path: Path) -> entries.Spool:
    return entries.Spool(str(tmp_path / "spool"))


def test_a_new_spool_is_roots_alone(spool: entries.Spool) -> None:
    assert os.stat(spool.path).st_mode & 0o777 == 0o700


def test_a_spool_that_others_can_write_is_refused(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir(mode=0o700)
    (tmp_path / "open").chmod(0o777)
    with pytest.raises(errors.Forbidden, match="writable by nobody else"):
        entries.Spool(str(tmp_path / "open"))


def test_complete_entries_are_listed_oldest_first_and_nothing_else_is(spool: entries.Spool) -> None:
    path = Path(spool.path)
    for age, id in enumerate(("z-1", "m-2", "a-3")):
        entry = dumps.spooled(path, id)
        os.utime(entry, (1000 + age, 1000 + age))
    (path / "b-4.part").mkdir()
    (path / "c-5.bad").mkdir()
    (path / "Not A Name").mkdir()
    assert [entry.id for entry in spool.entries()] == ["z-1", "m-2", "a-3"]


def test_an_entry_gives_its_record_and_its_core(spool: entries.Spool) -> None:
    dumps.spooled(Path(spool.path), "a-1", core=b"memory")
    (entry,) = spool.entries()
    assert entry.record().raw["podName"] == "web"
    with entry.open_core() as core:
        assert gzip.decompress(core.read()) == b"memory"


def test_removing_twice_is_fine(spool: entries.Spool) -> None:
    dumps.spooled(Path(spool.path), "a-1")
    (entry,) = spool.entries()
    entry.remove()
    entry.remove()
    assert os.listdir(spool.path) == []


def test_a_removal_cut_half_way_is_finished_at_the_next_start(spool: entries.Spool) -> None:
    gone = Path(spool.path) / ".a-1.gone"
    gone.mkdir()
    (gone / "core.gz").write_bytes(b"rest")
    entries.Spool(spool.path).close()
    assert os.listdir(spool.path) == []


def test_an_entry_without_its_files_is_a_bad_record(spool: entries.Spool) -> None:
    (Path(spool.path) / "a-1").mkdir()
    (entry,) = spool.entries()
    with pytest.raises(errors.BadRecord, match=r"a-1 has no meta\.json"):
        entry.record()
    with pytest.raises(errors.BadRecord, match=r"a-1 has no core\.gz"):
        entry.open_core()


def test_a_record_of_another_entry_is_refused(spool: entries.Spool) -> None:
    dumps.spooled(Path(spool.path), "a-1").rename(Path(spool.path) / "b-2")
    (entry,) = spool.entries()
    with pytest.raises(errors.BadRecord, match="says it is a-1"):
        entry.record()


@pytest.mark.parametrize("name", ["meta.json", "core.gz"])
def test_a_planted_link_is_not_followed(spool: entries.Spool, tmp_path: Path, name: str) -> None:
    secret = tmp_path / "secret"
    secret.write_text("{}")
    file = dumps.spooled(Path(spool.path), "a-1") / name
    file.unlink()
    file.symlink_to(secret)
    (entry,) = spool.entries()
    with pytest.raises(errors.StorageError):
        entry.open_core() if name == "core.gz" else entry.record()


def test_what_is_set_aside_is_kept_but_not_listed(spool: entries.Spool) -> None:
    dumps.spooled(Path(spool.path), "a-1")
    (entry,) = spool.entries()
    entry.set_aside()
    assert spool.entries() == []
    assert (Path(spool.path) / "a-1.bad/core.gz").exists()
