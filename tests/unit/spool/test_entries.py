from __future__ import annotations

import contextlib
import functools
import gzip
import os
import zlib
from pathlib import Path
from typing import Any

import pytest
from support import dumps, sparse

from coredumpd import errors
from coredumpd.formats import record as records
from coredumpd.gzipio import check
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


def test_containers_whose_captures_are_in_progress_are_known_by_the_first_record(
    spool: entries.Spool,
) -> None:
    path = Path(spool.path)
    for id, changes in (("a-1", {}), ("b-2", {"containerID": "d" * 64}), ("h-3", {})):
        entry = dumps.spooled(path, id, **(changes | {"namespace": "default"}))
        entry.rename(path / f"{id}.part")
    host = path / "h-3.part" / "meta.json"
    host.write_bytes(dumps.crash("h-3", namespace="_host", containerID=None).encode())
    dumps.spooled(path, "c-4", containerID="e" * 64)  # is complete
    assert spool.capturing() == {"c" * 64, "d" * 64}


@pytest.mark.parametrize("record", [None, b"", b"{}"])
def test_a_capture_without_a_readable_record_may_be_of_any_container(
    spool: entries.Spool, record: bytes | None
) -> None:
    part = Path(spool.path) / "a-1.part"
    part.mkdir()
    if record is not None:
        (part / "meta.json").write_bytes(record)
    assert spool.capturing() == {""}


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


def test_a_copy_of_a_core_waits_while_the_disk_has_no_room_for_both(spool: entries.Spool) -> None:
    dumps.spooled(Path(spool.path), "a-1")
    (entry,) = spool.entries()
    disk = os.statvfs(spool.path)
    free = disk.f_bavail * disk.f_frsize
    entry.require_room(1000, free // 2)
    with pytest.raises(errors.StorageError, match=r"a-1 waits: .*\(spoolKeepFree\)"):
        entry.require_room(1000, 2 * free)


STEPS = ("fsync", "rename", "utime", "unlink")  # each call that changes what is on the disk
REAL = {step: getattr(os, step) for step in STEPS}


class Killed(BaseException):
    """What SIGKILL would do: no handler of ours runs any more but `finally`."""


def put_sealed(entry: entries.Entry) -> None:
    crash = entry.record()
    content = b"sealed"
    about = {"size": len(content), "crc32": f"{zlib.crc32(content):08x}", "to": ["age1..."]}
    stored = gzip.compress(content, mtime=0)
    core = {**crash.raw["core"], "storedSize": len(stored), "sealed": about}
    with entry.new_sealed() as file:
        file.write(stored)
        entry.put_sealed(records.CrashRecord({**crash.raw, "core": core}), file)


def test_a_sealed_core_takes_the_place_of_the_plain_one(spool: entries.Spool) -> None:
    directory = dumps.spooled(Path(spool.path), "a-1", core=b"memory")
    os.utime(directory, (1000, 1000))
    (entry,) = spool.entries()
    put_sealed(entry)
    assert entry.record().sealed is not None
    with entry.open_core() as core:
        assert gzip.decompress(core.read()) == b"sealed"
    assert sorted(os.listdir(directory)) == ["core.gz", "meta.json"]
    assert os.stat(directory).st_mtime == 1000  # it keeps its place in line
    assert (directory / "core.gz").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("failure", [Killed(), OSError(5, "Input/output error")])
def test_killed_or_failing_at_any_step_an_entry_is_plain_or_sealed_and_never_lost(
    spool: entries.Spool, monkeypatch: pytest.MonkeyPatch, failure: BaseException
) -> None:
    seen = set()
    for deadly in range(100):
        directory = dumps.spooled(Path(spool.path), f"a-{deadly}", core=b"memory")
        count = 0

        def counted(name: str, *given: Any, _deadly: int = deadly, **named: Any) -> Any:
            nonlocal count
            count += 1
            if count == _deadly + 1:
                raise failure
            return REAL[name](*given, **named)

        with monkeypatch.context() as patched:
            for step in STEPS:
                patched.setattr(os, step, functools.partial(counted, step))
            with contextlib.suppress(Killed, errors.StorageError):
                put_sealed(next(one for one in spool.entries() if one.id == f"a-{deadly}"))
        entry = next(one for one in spool.entries() if one.id == f"a-{deadly}")
        with entry.open_core() as core:
            reader = check.checked(core, entry.record())
            data = b"".join(iter(lambda reader=reader: reader.read(1000), b""))
        content = gzip.decompress(data)
        assert (content == b"sealed") == (entry.record().sealed is not None)
        assert content in (b"sealed", b"memory")
        seen.add((content, tuple(sorted(os.listdir(directory)))))
        put_sealed(entry)  # what a killed agent left is no hindrance to the next
        assert set(os.listdir(directory)) == {"core.gz", "meta.json"}
        if count < deadly + 1:
            break
    assert deadly > 8, "no step was interrupted"
    assert {content for content, _ in seen} == {b"sealed", b"memory"}


def test_a_sealed_core_without_room_leaves_the_plain_one(
    spool: entries.Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    dumps.spooled(Path(spool.path), "a-1", core=b"memory")
    (entry,) = spool.entries()

    def full(descriptor: int) -> None:
        if os.readlink(f"/proc/self/fd/{descriptor}").endswith("/sealed.gz"):
            raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(errors.StorageError, match="No space left"):
            put_sealed(entry)
    assert entry.record().sealed is None
    assert sorted(os.listdir(Path(spool.path) / "a-1")) == ["core.gz", "meta.json"]
    with entry.open_core() as core:
        assert gzip.decompress(core.read()) == b"memory"


def test_whose_captures_lie_here_is_known_also_while_they_are_made(spool: entries.Spool) -> None:
    for name in ("a-20261124t201244z-7-beef", "b-c-20261124t201244z-8-beef.part", "stray.part"):
        (Path(spool.path) / name).mkdir()
    (Path(spool.path) / "a-20261124t201244z-9-beef.bad").mkdir()
    assert spool.pids() == {7, 8}


def test_an_entry_gives_the_index_of_its_core(spool: entries.Spool) -> None:
    made = sparse.make({0: b"head" * 1024}, 2**40)
    path = sparse.spooled(Path(spool.path), made)
    (entry,) = spool.entries()
    index = entry.index(entry.record())
    assert index is not None
    assert index.data == made[3].data
    (path / "core.index").write_bytes(made[3].data[:-1])
    with pytest.raises(errors.BadRecord, match=r"core\.index"):
        entry.index(entry.record())
    (path / "core.index").unlink()
    with pytest.raises(errors.BadRecord, match=r"core\.index"):
        entry.index(entry.record())


def test_a_sealed_entry_has_no_index_that_tells_where_the_core_has_holes(
    spool: entries.Spool,
) -> None:
    path = sparse.spooled(Path(spool.path), sparse.make({0: b"head" * 1024}, 2**40))
    (entry,) = spool.entries()
    record = entry.record()
    core = {name: value for name, value in record.raw["core"].items() if name != "index"}
    sealed = record.with_(core=core).with_core(sealed={"size": 3, "crc32": "00000000"})
    with entry.new_sealed() as file:
        file.write(b"age")
        entry.put_sealed(sealed, file)
    assert sorted(os.listdir(path)) == ["core.gz", "meta.json"]
    assert entry.index(entry.record()) is None
