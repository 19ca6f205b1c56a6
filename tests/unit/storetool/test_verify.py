from __future__ import annotations

import gzip
import io

import pytest
from support import dumps, keys, sealed, sparse

from coredumpd.formats import record as records
from coredumpd.store.directory import engine
from coredumpd.storetool import survey, verify


@pytest.fixture
def store(tmp_path):
    return engine.DirectoryStore(str(tmp_path))


def findings(store, quick=False, decompress=False):
    return [
        (finding.kind, finding.detail)
        for place in survey.places(store.files())
        for finding in verify.dump(store, place.key, place, quick=quick, decompress=decompress)
    ]


def edit(tmp_path, key, **core):
    path = tmp_path / str(key) / "meta.json"
    raw = records.CrashRecord.parse(path.read_bytes()).raw
    raw["core"].update(core)
    path.write_bytes(records.CrashRecord(raw).encode())


def test_a_whole_dump_has_no_findings(store):
    store.commit(*dumps.make(b"x" * 3_000_000))
    assert findings(store) == findings(store, decompress=True) == findings(store, quick=True) == []


def test_a_core_of_several_members_decompresses_as_one(store):
    content = b"a" * 2_500_000 + b"b" * 77
    members = gzip.compress(content[:1_000_001], mtime=0) + gzip.compress(content[1_000_001:])
    key, record, _ = dumps.make(content)
    record.raw["core"]["storedSize"] = len(members)
    store.commit(key, record, io.BytesIO(members))
    assert findings(store, decompress=True) == []


def test_a_flipped_bit_is_found_unless_only_sizes_are_compared(store, tmp_path):
    key, record, core = dumps.make(b"x" * 1000)
    store.commit(key, record, core)
    path = tmp_path / str(key) / "core.gz"
    data = bytearray(path.read_bytes())
    data[12] ^= 1
    path.write_bytes(data)
    assert [kind for kind, _ in findings(store)] == ["bad-crc"]
    assert findings(store, quick=True) == []


def test_a_core_cut_short_is_found_without_reading_it(store, tmp_path):
    key, record, core = dumps.make(b"x" * 1000)
    store.commit(key, record, core)
    (tmp_path / str(key) / "core.gz").write_bytes(core.getvalue()[:-1])
    assert [kind for kind, _ in findings(store, quick=True)] == ["wrong-size"]


def test_bytes_that_were_wrong_when_they_came_are_found_by_decompressing(store, tmp_path):
    key, record, core = dumps.make(b"x" * 1000)
    store.commit(key, record, core)
    edit(tmp_path, key, crc32="00000000")
    assert findings(store) == []
    ((kind, detail),) = findings(store, decompress=True)
    assert kind == "bad-crc"
    assert "meta.json says 00000000" in detail


def test_a_dump_without_a_stored_crc_is_decompressed(store, tmp_path):
    key, record, core = dumps.make(b"x" * 1000)
    store.commit(key, record, core)
    edit(tmp_path, key, storedCrc32=None, crc32="00000000")
    assert [kind for kind, _ in findings(store)] == ["bad-crc"]


def test_a_record_that_is_none_or_another_dumps_is_found(store, tmp_path):
    first, second = dumps.make(b"one", pid=1), dumps.make(b"two", pid=2)
    for dump in (first, second):
        store.commit(*dump)
    meta = tmp_path / str(first[0]) / "meta.json"
    meta.write_bytes((tmp_path / str(second[0]) / "meta.json").read_bytes())
    assert "wrong-place" in dict(findings(store))
    meta.write_bytes(b"{}")
    assert "bad-record" in dict(findings(store))


def test_a_core_that_is_a_symlink_is_unreadable(store, tmp_path):
    key, record, core = dumps.make()
    store.commit(key, record, core)
    path = tmp_path / str(key) / "core.gz"
    moved = tmp_path / "x"
    path.rename(moved)
    path.symlink_to(moved)
    edit(tmp_path, key, storedSize=path.lstat().st_size)
    places = [place for place in survey.places(store.files()) if place.is_dump]
    problems = verify.dump(store, key, places[0], quick=False, decompress=False)
    assert [finding.kind for finding in problems] == ["unreadable"]


def test_a_sealed_dump_is_verified_as_what_it_is(store, tmp_path):
    key, record, core = sealed.make(b"x" * 3_000_000, keys.age())
    store.commit(key, record, core)
    assert findings(store) == findings(store, decompress=True) == []
    edit(tmp_path, key, sealed=record.sealed | {"crc32": "00000000"})
    ((kind, detail),) = findings(store, decompress=True)
    assert kind == "bad-crc"
    assert "meta.json says 00000000" in detail


def test_a_core_with_holes_is_verified_member_by_member(store, tmp_path):
    key, record, core, index = sparse.make(
        {0: b"head" * 1024, 2**30: b"stack" * 4096}, 2**36, order=[2**30, 0]
    )
    store.commit(key, record, core, index)
    assert findings(store) == findings(store, decompress=True) == []
    edit(tmp_path, key, crc32="00000000")
    ((kind, detail),) = findings(store, decompress=True)
    assert (kind, "meta.json says 00000000" in detail) == ("bad-crc", True)


@pytest.mark.parametrize("damage", ["missing", "cut", "another"])
def test_a_bad_index_is_found_even_where_only_sizes_are_compared(store, tmp_path, damage):
    key, record, core, index = sparse.make({0: b"head" * 1024}, 2**30)
    store.commit(key, record, core, index)
    path = tmp_path / str(key) / "core.index"
    if damage == "missing":
        path.unlink()
    elif damage == "cut":
        path.write_bytes(index.data[:-1])
    else:
        path.write_bytes(sparse.make({0: b"tail" * 1024}, 2**31)[3].data)
    assert [kind for kind, _ in findings(store, quick=True)] == ["bad-index"]
