from __future__ import annotations

import gzip
import os
from pathlib import Path

import pytest
from support import dumps, keys, sealed

from coredumpd import errors, sealing
from coredumpd.download import directory
from coredumpd.formats import record as records

PAIR = keys.age()


def arrive(
    place: directory.DumpDirectory, crash: records.CrashRecord, name: str, core: bytes
) -> records.CrashRecord:
    with place.new_arrival() as arrival:
        for file, data in (("meta.json", crash.encode()), (name, core)):
            arrival.begin(file, len(data)).write(data)
        return arrival.end()


def test_a_dump_is_there_whole_once_it_has_ended(tmp_path: Path) -> None:
    key, crash, _ = dumps.make(b"memory")
    place = directory.DumpDirectory(tmp_path, key)
    assert place.record() is None
    arrive(place, crash, "core", b"memory")
    stored_record = place.record()
    assert stored_record is not None
    assert place.has_core(stored_record)
    assert sorted(os.listdir(place.path)) == ["core", "meta.json"]


@pytest.mark.parametrize("core", [b"", b"memorx", b"memory and more"])
def test_another_core_than_the_record_tells_of_leaves_nothing(tmp_path: Path, core: bytes) -> None:
    key, crash, _ = dumps.make(b"memory")
    place = directory.DumpDirectory(tmp_path, key)
    with pytest.raises(errors.StorageError, match="it should be 6 bytes"):
        arrive(place, crash, "core", core)
    assert os.listdir(place.path) == []


def test_another_dump_than_was_asked_for_leaves_nothing(tmp_path: Path) -> None:
    place = directory.DumpDirectory(tmp_path, dumps.make(b"memory")[0])
    with pytest.raises(errors.StorageError, match="another dump"):
        arrive(place, dumps.make(b"others")[1], "core", b"others")
    assert os.listdir(place.path) == []


def test_a_file_that_comes_twice_is_refused(tmp_path: Path) -> None:
    place = directory.DumpDirectory(tmp_path, dumps.make(b"memory")[0])
    with place.new_arrival() as arrival:
        arrival.begin("core", 1)
        with pytest.raises(errors.StorageError, match="no archive of one dump"):
            arrival.begin("core", 1)


def test_a_link_that_was_planted_is_not_written_through(tmp_path: Path) -> None:
    key, crash, _ = dumps.make(b"memory")
    place = directory.DumpDirectory(tmp_path / "out", key)
    place.path.mkdir(parents=True)
    (tmp_path / "precious").write_bytes(b"precious")
    (place.path / "core.part").symlink_to(tmp_path / "precious")
    with pytest.raises(OSError, match="symbolic link"):
        arrive(place, crash, "core", b"memory")
    assert (tmp_path / "precious").read_bytes() == b"precious"


def test_a_sealed_core_is_opened_in_place(tmp_path: Path) -> None:
    key, crash, core = sealed.make(b"memory" * 1000, PAIR)
    place = directory.DumpDirectory(tmp_path, key)
    arrive(place, crash, "core.gz.age", gzip.decompress(core.getvalue()))
    assert place.has_sealed(crash)
    with pytest.raises(errors.CannotOpen):
        place.open_sealed(crash, sealing.identities(keys.age().identity))
    assert sorted(os.listdir(place.path)) == ["core.gz.age", "meta.json"]
    place.open_sealed(crash, sealing.identities(PAIR.identity))
    assert sorted(os.listdir(place.path)) == ["core", "meta.json"]
    assert (place.path / "core").read_bytes() == b"memory" * 1000


def test_an_age_file_of_another_core_than_the_record_tells_of_is_kept_and_told(
    tmp_path: Path,
) -> None:
    key, crash, core = sealed.make(b"memory" * 1000, PAIR)
    crash.raw["core"]["crc32"] = "00000000"
    place = directory.DumpDirectory(tmp_path, key)
    arrive(place, crash, "core.gz.age", gzip.decompress(core.getvalue()))
    with pytest.raises(errors.StorageError, match="in the age file is not"):
        place.open_sealed(crash, sealing.identities(PAIR.identity))
    assert sorted(os.listdir(place.path)) == ["core.gz.age", "meta.json"]
