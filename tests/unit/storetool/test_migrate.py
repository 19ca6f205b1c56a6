from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import dumps, sparse

from coredumpd import cli, errors
from coredumpd.store.directory import engine
from coredumpd.storetool import migrate


@pytest.fixture
def sides(tmp_path):
    stores = []
    for name in ("from", "to"):
        (tmp_path / name).mkdir()
        stores.append(engine.DirectoryStore(str(tmp_path / name)))
    return stores


def migrated(sides, capsys, *words):
    urls = [f"file://{side.root}" for side in sides]
    code = cli.main(["store", "migrate", *urls, "-o", "json", *words])
    return code, json.loads(capsys.readouterr().out)


def fill(store, count):
    filled = [dumps.make(bytes([pid]) * 2000, pid=pid) for pid in range(count)]
    for dump in filled:
        store.commit(*dump)
    return filled


def test_every_dump_arrives_whole(sides, capsys):
    filled = fill(sides[0], 7)
    code, answer = migrated(sides, capsys)
    assert (code, answer["copied"], answer["already"]) == (0, 7, 0)
    for key, _, core in filled:
        assert sides[1].open_core(key).read_at(0, 10_000) == core.getvalue()
        assert sides[1].read_record(key).raw == sides[0].read_record(key).raw


def test_the_index_of_a_core_with_holes_goes_with_it(sides, capsys):
    key, record, core, index = sparse.make({0: b"head" * 1024, 2**30: b"x" * 4096}, 2**40)
    sides[0].commit(key, record, core, index)
    code, answer = migrated(sides, capsys)
    assert (code, answer["copied"]) == (0, 1)
    assert answer["bytes"] == len(core.getvalue()) + len(index.data)
    assert sides[1].open_file(f"{key}/core.index").read_at(0, 10_000) == index.data


def test_what_is_noted_about_a_pod_goes_with_it(sides, capsys):
    fill(sides[0], 1)
    sides[0].write_note("team-a", dumps.POD_UID, "deleted.json", b"{}")
    assert migrated(sides, capsys)[0] == 0
    assert sides[1].read_note("team-a", dumps.POD_UID, "deleted.json") == b"{}"


def test_running_it_again_copies_only_what_is_missing(sides, capsys):
    filled = fill(sides[0], 7)
    migrated(sides, capsys)
    for key, _, _ in filled[2:4]:
        sides[1].delete(key)
    assert migrated(sides, capsys)[1] | {"bytes": 0} == {
        "failures": [],
        "copied": 2,
        "bytes": 0,
        "already": 5,
        "failed": 0,
    }


def test_rotten_bytes_are_not_copied_as_if_they_were_good(sides, capsys, tmp_path):
    filled = fill(sides[0], 3)
    path = tmp_path / "from" / str(filled[1][0]) / "core.gz"
    data = bytearray(path.read_bytes())
    data[12] ^= 1
    path.write_bytes(data)
    code, answer = migrated(sides, capsys)
    assert (code, answer["copied"], answer["failed"]) == (1, 2, 1)
    assert "CRC-32" in answer["failures"][0]["error"]
    assert filled[1][0] not in list(sides[1].list())


def test_a_target_that_is_gone_is_given_up_on(sides, capsys, tmp_path):
    fill(sides[0], 3)
    (tmp_path / "to").rmdir()
    urls = [f"file://{side.root}" for side in sides]
    assert cli.main(["store", "migrate", *urls]) == errors.StorageError.exit_code
    assert "is not there" in capsys.readouterr().err


def test_the_same_store_twice_is_a_usage_error(sides, capsys):
    url = f"file://{sides[0].root}"
    assert cli.main(["store", "migrate", url, url + "/"]) == 2
    assert "same store" in capsys.readouterr().err


@given(st.sets(st.text("ab", max_size=3)), st.sets(st.text("ab", max_size=3)))
def test_missing_is_the_difference_of_two_sorted_listings(source, target):
    expected = sorted(source - target)
    assert list(migrate.missing(sorted(source), sorted(target))) == expected
