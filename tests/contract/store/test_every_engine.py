"""What every engine of `coredumpd.store` promises; the fixture `store` has a param per engine."""

from __future__ import annotations

import gzip
import io
import random
import threading

import pytest
from support import dumps, sparse

from coredumpd import errors
from coredumpd.formats import layout
from coredumpd.formats import record as records
from coredumpd.store import reader


def test_a_committed_dump_is_listed_and_read_back(store):
    key, record, core = dumps.make(b"memory" * 1000)
    store.commit(key, record, core)
    assert list(store.list()) == [key]
    opened = store.open_core(key)
    try:
        assert gzip.decompress(opened.read_at(0, opened.size)) == b"memory" * 1000
    finally:
        opened.close()
    there = store.read_record(key).raw
    assert there["core"].pop("storedCrc32")
    assert there == record.raw


def test_a_new_store_is_empty(store):
    assert list(store.list()) == []
    assert list(store.scan()) == []


def test_a_core_is_read_from_any_offset(store):
    key, record, core = dumps.make(bytes(range(256)) * 40)
    stored = core.getvalue()
    store.commit(key, record, core)
    opened = store.open_core(key)
    assert opened.size == len(stored)
    assert opened.read_at(5, 7) == stored[5:12]
    assert opened.read_at(len(stored) - 3, 100) == stored[-3:]
    assert opened.read_at(len(stored), 1) == b""
    assert opened.read_at(len(stored) + 10, 1) == b""
    opened.close()
    opened.close()


def test_committing_the_same_dump_again_is_success(store):
    key, record, core = dumps.make()
    store.commit(key, record, core)
    core.seek(0)
    store.commit(key, record, core)
    assert list(store.list()) == [key]


def test_committing_another_dump_under_the_same_key_is_refused(store):
    key, record, core = dumps.make(b"one")
    store.commit(key, record, core)
    _, other, other_core = dumps.make(b"another")
    other.raw["id"] = record.id
    with pytest.raises(errors.AlreadyExists, match=record.id):
        store.commit(key, other, other_core)
    assert store.read_record(key).raw["core"]["size"] == 3


def test_a_core_shorter_than_its_record_is_refused_and_leaves_nothing(store):
    key, record, core = dumps.make(b"x" * 5000)
    with pytest.raises(errors.BadRecord, match="storedSize"):
        store.commit(key, record, io.BytesIO(core.getvalue()[:-1]))
    assert list(store.list()) == []
    store.commit(key, record, core)
    assert list(store.list()) == [key]


def test_commit_reads_the_core_from_where_it_stands(store):
    key, record, core = dumps.make(b"y" * 100)
    prefixed = io.BytesIO(b"prefix" + core.getvalue())
    prefixed.seek(6)
    store.commit(key, record, prefixed)
    opened = store.open_core(key)
    assert gzip.decompress(opened.read_at(0, opened.size)) == b"y" * 100
    opened.close()


def test_listing_is_by_prefix_and_sorted(store):
    placed = []
    for namespace in ("team-b", "team-a"):
        for container in ("web", "app"):
            for pid in (2, 1):
                key, record, core = dumps.make(
                    f"{namespace}{container}{pid}".encode(),
                    namespace=namespace,
                    container=container,
                    pid=pid,
                )
                store.commit(key, record, core)
                placed.append(key)
    assert list(store.list()) == sorted(placed, key=str)
    in_a = [key for key in sorted(placed, key=str) if key.namespace == "team-a"]
    assert list(store.list(layout.Prefix("team-a"))) == in_a
    assert list(store.list(layout.Prefix("team-a", dumps.POD_UID))) == in_a
    assert list(store.list(layout.Prefix("team-a", dumps.POD_UID, "web"))) == in_a[2:]
    assert list(store.list(layout.Prefix("team-c"))) == []
    of_web = layout.Prefix("team-a", dumps.POD_UID, "web")
    assert [key for key, _ in store.scan(of_web)] == in_a[2:]


def test_listing_is_sorted_as_text_where_a_name_begins_another(store):
    for namespace in ("team", "team-a", "team-a1"):
        store.commit(*dumps.make(namespace=namespace))
    found = list(store.list())
    assert [key.namespace for key in found] == ["team-a", "team-a1", "team"]
    assert found == sorted(found, key=str)
    assert [key for key, _ in store.scan()] == found


def test_a_large_core_is_read_back_whole_in_small_and_large_steps(store):
    content = random.Random(7).randbytes(11_000_000)  # two parts and a bit, in a bucket
    key, record, core = dumps.make(content)
    store.commit(key, record, core)
    opened = store.open_core(key)
    for step in (300_000, 5_000_000, opened.size):
        read = b"".join(opened.read_at(at, step) for at in range(0, opened.size, step))
        assert read == core.getvalue()
    assert opened.read_at(9_000_000, 1000) == core.getvalue()[9_000_000:9_001_000]
    opened.close()


def test_a_core_longer_than_its_record_is_refused_and_leaves_nothing(store):
    key, record, core = dumps.make(random.Random(8).randbytes(6_000_000))
    with pytest.raises(errors.BadRecord, match="storedSize"):
        store.commit(key, record, io.BytesIO(core.getvalue() + b"more"))
    assert list(store.list()) == []
    with pytest.raises(errors.NotFound):
        store.open_core(key)


def test_a_namespace_that_is_a_prefix_of_another_sees_only_its_own(store):
    for namespace in ("team", "team-a"):
        store.commit(*dumps.make(namespace=namespace))
    assert [key.namespace for key in store.list(layout.Prefix("team"))] == ["team"]


@pytest.mark.parametrize("hostile", ["..", "a/b", ".", "", "UPPER", "a\0b"])
def test_a_prefix_that_is_no_name_is_refused(store, hostile):
    with pytest.raises(errors.Invalid, match="namespace"):
        list(store.list(layout.Prefix(hostile)))


def test_a_prefix_with_a_gap_is_refused(store):
    with pytest.raises(errors.BadRequest):
        list(store.list(layout.Prefix(None, dumps.POD_UID)))


def test_a_deleted_dump_is_gone_and_its_neighbours_stay(store):
    first, second = dumps.make(b"one", pid=1), dumps.make(b"two", pid=2)
    store.commit(*first)
    store.commit(*second)
    store.delete(first[0])
    assert list(store.list()) == [second[0]]
    with pytest.raises(errors.NotFound):
        store.read_record(first[0])
    with pytest.raises(errors.NotFound):
        store.open_core(first[0])
    with pytest.raises(errors.NotFound):
        store.delete(first[0])


def test_a_deleted_dump_can_come_back(store):
    key, record, core = dumps.make()
    store.commit(key, record, core)
    store.delete(key)
    core.seek(0)
    store.commit(key, record, core)
    assert list(store.list()) == [key]


def test_a_host_crash_lives_under_its_node(store):
    key = layout.DumpKey("_host", "node1.example", "sshd", "sshd-20260921t141320z-1-0001")
    _, record, core = dumps.make()
    store.commit(key, record, core)
    assert list(store.list(layout.Prefix("_host"))) == [key]


def test_fields_this_version_does_not_know_survive(store):
    key, record, core = dumps.make(futureField={"a": [1, None]})
    store.commit(key, record, core)
    assert store.read_record(key).raw["futureField"] == {"a": [1, None]}


def test_two_committers_of_one_dump_leave_one_dump(store):
    dump = dumps.make(b"z" * 200_000)
    failures = []

    def commit() -> None:
        try:
            store.commit(dump[0], dump[1], io.BytesIO(dump[2].getvalue()))
        except errors.CoredumpdError as error:
            failures.append(error)

    threads = [threading.Thread(target=commit) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert list(store.list()) == [dump[0]]


def test_files_names_every_file_of_every_dump_in_order(store):
    first, second = dumps.make(b"one", pid=1), dumps.make(b"second", pid=2, namespace="team-b")
    for dump in (second, first):
        store.commit(*dump)
    found = list(store.files())
    assert [file.path for file in found] == [
        f"{key}/{name}" for key in (first[0], second[0]) for name in ("core.gz", "meta.json")
    ]
    assert found[0].size == len(first[2].getvalue())
    assert found[0].modified_s > 1_500_000_000
    assert list(store.files(layout.Prefix("team-b"))) == found[2:]


def test_any_file_is_opened_by_its_path(store):
    key, record, core = dumps.make()
    store.commit(key, record, core)
    opened = store.open_file(f"{key}/meta.json")
    assert records.CrashRecord.parse(opened.read_at(0, opened.size)).id == key.id
    opened.close()
    with pytest.raises(errors.NotFound):
        store.open_file(f"{key}/nothing")


def test_one_file_is_discarded_and_the_others_stay(store):
    key, record, core = dumps.make()
    store.commit(key, record, core)
    store.discard(f"{key}/meta.json")
    assert [file.path for file in store.files()] == [f"{key}/core.gz"]
    store.discard(f"{key}/core.gz")
    assert list(store.files()) == []


@pytest.mark.parametrize("path", ["../x", "a//b", "/etc/passwd", "a/./b", "", "a\0b"])
def test_a_path_that_leaves_the_root_is_refused(store, path):
    for call in (store.discard, store.open_file):
        with pytest.raises(errors.Invalid, match="path"):
            call(path)


def test_a_note_about_a_pod_is_kept_replaced_and_in_no_listing(store):
    key, record, core = dumps.make()
    store.commit(key, record, core)
    place = (key.namespace, key.pod_uid)
    assert store.read_note(*place, "deleted") is None
    store.write_note(*place, "deleted", b"first")
    store.write_note(*place, "deleted", b"second")
    assert store.read_note(*place, "deleted") == b"second"
    assert list(store.list()) == [key]
    store.delete_note(*place, "deleted")
    store.delete_note(*place, "deleted")
    assert store.read_note(*place, "deleted") is None
    assert list(store.list()) == [key]


def test_a_note_about_a_pod_that_is_not_there_is_nothing(store):
    assert store.read_note("team-z", "uid", "deleted") is None
    store.delete_note("team-z", "uid", "deleted")
    with pytest.raises(errors.Invalid):
        store.read_note("..", "uid", "deleted")


def test_an_index_is_read_back_with_its_dump_and_goes_with_it(store):
    key, record, core, index = sparse.make({0: b"head" * 1024, 2**30: b"x" * 4096}, 2**40)
    store.commit(key, record, core, index)
    there = store.read_record(key)
    assert reader.index(store, key, there).data == index.data
    store.delete(key)
    assert list(store.files()) == []


def test_an_index_that_is_not_the_record_s_is_refused(store):
    key, record, core, index = sparse.make({0: b"head" * 1024}, 2**40)
    other = sparse.make({0: b"tail" * 1024}, 2**41)[3]
    for wrong in (None, other):
        with pytest.raises(errors.BadRecord, match="index"):
            store.commit(key, record, core, wrong)
    with pytest.raises(errors.BadRecord, match="index"):
        store.commit(*dumps.make(), index)
    assert list(store.list()) == []
