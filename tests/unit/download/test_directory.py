from __future__ import annotations

import gzip
import os
from pathlib import Path

import pytest
from support import dumps, keys, sealed

from coredumpd import errors, sealing
from coredumpd.download import directory, space
from coredumpd.formats import record as records

PAIR = keys.age()


def arrive(
    place: directory.DumpDirectory, crash: records.CrashRecord, name: str, core: bytes
) -> records.CrashRecord:
    sizes = space.Sizes.parse(crash.raw["core"])
    with place.guard(0) as guard, place.new_arrival(sizes, guard) as arrival:
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


SIZES = space.Sizes(stored=100, core=6, holes=0, sealed=None)


def test_a_file_that_comes_twice_is_refused(tmp_path: Path) -> None:
    place = directory.DumpDirectory(tmp_path, dumps.make(b"memory")[0])
    with place.guard(0) as guard, place.new_arrival(SIZES, guard) as arrival:
        arrival.begin("meta.json", 1)
        with pytest.raises(errors.StorageError, match="no archive of one dump"):
            arrival.begin("meta.json", 1)


def test_a_core_before_its_record_is_refused(tmp_path: Path) -> None:
    place = directory.DumpDirectory(tmp_path, dumps.make(b"memory")[0])
    with (
        place.guard(0) as guard,
        place.new_arrival(SIZES, guard) as arrival,
        pytest.raises(errors.StorageError, match="no archive of one dump"),
    ):
        arrival.begin("core", 6)


def test_a_record_of_other_sizes_than_the_listing_is_refused(tmp_path: Path) -> None:
    key, crash, _ = dumps.make(b"memory")
    place = directory.DumpDirectory(tmp_path, key)
    with place.guard(0) as guard, place.new_arrival(SIZES, guard) as arrival:
        arrival.begin("meta.json", len(crash.encode())).write(crash.encode())
        with pytest.raises(errors.StorageError, match="listing of dumps differ"):
            arrival.begin("core", 6)


def test_a_part_that_was_planted_is_replaced_not_written_to(tmp_path: Path) -> None:
    key, crash, _ = dumps.make(b"memory")
    place = directory.DumpDirectory(tmp_path / "out", key)
    place.path.mkdir(parents=True)
    (tmp_path / "precious").write_bytes(b"precious")
    (place.path / "core.part").symlink_to(tmp_path / "precious")
    (place.path / "meta.json.part").write_bytes(b"held open by a stranger")
    with (place.path / "meta.json.part").open("rb") as stranger:
        arrive(place, crash, "core", b"memory")
        assert stranger.read() == b"held open by a stranger"
    assert (tmp_path / "precious").read_bytes() == b"precious"
    assert not (place.path / "core").is_symlink()


@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o775, 0o770])
@pytest.mark.parametrize("which", ["app", "id"])
def test_a_directory_in_which_others_may_write_is_refused(tmp_path, which, mode) -> None:
    key, crash, _ = dumps.make(b"memory")
    place = directory.DumpDirectory(tmp_path, key)
    place.path.mkdir(parents=True)
    (place.path if which == "id" else place.path.parent).chmod(mode)
    with pytest.raises(errors.Untrusted, match=rf"has mode {mode:04o}.*0755 or less.*--output"):
        arrive(place, crash, "core", b"memory")


def test_an_output_that_others_may_rename_in_is_refused_unless_it_is_sticky(tmp_path) -> None:
    key, crash, _ = dumps.make(b"memory")
    place = directory.DumpDirectory(tmp_path / "out", key)
    (tmp_path / "out").mkdir()
    (tmp_path / "out").chmod(0o777)
    with pytest.raises(errors.Untrusted, match="others must not write"):
        arrive(place, crash, "core", b"memory")
    (tmp_path / "out").chmod(0o1777)
    arrive(place, crash, "core", b"memory")


def plant(path: Path, kind: str) -> None:
    path.parent.mkdir(parents=True)
    if kind == "link":
        path.symlink_to("/etc/passwd")
    elif kind == "fifo":
        os.mkfifo(path, 0o600)
    else:
        path.touch()
        path.chmod(0o600 if kind != "mode" else 0o666)
        if kind == "hard link":
            path.with_name("second").hardlink_to(path)
        if kind == "owner":
            os.chown(path, 12345, -1)


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("link", "symbolic link"),
        ("fifo", "regular file"),
        ("mode", "has mode 0666"),
        ("hard link", "2 names"),
        ("owner", "belongs to uid 12345"),
    ],
)
@pytest.mark.parametrize("name", ["archive.tar.gz.part", "meta.json"])
def test_what_is_not_the_callers_own_file_is_not_gone_on_with(tmp_path, kind, reason, name) -> None:
    if kind == "owner" and os.geteuid() != 0:
        pytest.skip("only root can give a file away")
    place = directory.DumpDirectory(tmp_path, dumps.make(b"memory")[0])
    plant(place.path / name, kind)
    use = place.record if name == "meta.json" else place.archive().__enter__
    with pytest.raises(errors.Untrusted, match=f"{name}.*{reason}.*remove it"):
        use()


def test_a_new_archive_is_its_owners_alone(tmp_path: Path) -> None:
    place = directory.DumpDirectory(tmp_path / "out", dumps.make(b"memory")[0])
    with place.archive() as archive:
        archive.write(b"x")
    assert (place.path / "archive.tar.gz.part").stat().st_mode & 0o777 == 0o600
    for path in (place.path, place.path.parent, tmp_path / "out"):
        assert path.stat().st_mode & 0o777 == 0o700


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
