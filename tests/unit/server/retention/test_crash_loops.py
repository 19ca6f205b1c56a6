from __future__ import annotations

from typing import Any

from support import dumps

from coredumpd import errors
from coredumpd.formats import crash_loop, layout
from coredumpd.formats import record as records
from coredumpd.server.retention import crash_loops, listing
from coredumpd.settings import sections

RULES = sections.CrashLoopSettings(first=1, last=1, window=3600.0)


class Store:
    """Records in memory; counts what is read."""

    def __init__(self) -> None:
        self.records: dict[layout.DumpKey, records.CrashRecord] = {}
        self.read = 0

    def put(self, number: int, **changes: Any) -> listing.Stored:
        key, record, _ = dumps.make(time_s=1_790_000_000 + number, pid=number, **changes)
        self.records[key] = record
        return listing.Stored(key, 1, 1_790_000_000 + number)

    def read_record(self, key: layout.DumpKey) -> records.CrashRecord:
        self.read += 1
        if key not in self.records:
            raise errors.NotFound("gone")
        return self.records[key]


def test_a_loop_is_folded_between_its_first_and_its_last_crash() -> None:
    store = Store()
    stored = [store.put(number) for number in range(5)]
    (fold,) = crash_loops.CrashLoops(store, RULES).folds("team-a", stored, ())
    assert fold.counted == tuple(dump.key for dump in stored[1:4])
    assert fold.counting is not None
    assert crash_loop.of(fold.counting).count == 3


def test_a_dump_in_use_is_left_out_of_the_fold() -> None:
    store = Store()
    stored = [store.put(number) for number in range(5)]
    (fold,) = crash_loops.CrashLoops(store, RULES).folds("team-a", stored, {stored[2].key})
    assert fold.counted == (stored[1].key, stored[3].key)


def test_no_record_is_read_where_names_show_no_loop() -> None:
    store = Store()
    stored = [store.put(number, exe=f"program{number}") for number in range(5)]
    assert crash_loops.CrashLoops(store, RULES).folds("team-a", stored, ()) == []
    assert store.read == 0


def test_dumps_that_need_no_fold_are_read_once() -> None:
    store = Store()
    stored = [store.put(n, signal={"number": n + 1, "name": None}) for n in range(5)]
    loops = crash_loops.CrashLoops(store, RULES)
    for _ in range(3):
        assert loops.folds("team-a", stored, ()) == []
    assert store.read == 5


def test_a_dump_that_is_gone_meanwhile_is_not_counted() -> None:
    store = Store()
    stored = [store.put(number) for number in range(5)]
    del store.records[stored[2].key]
    (fold,) = crash_loops.CrashLoops(store, RULES).folds("team-a", stored, ())
    assert fold.counted == (stored[1].key, stored[3].key)


def test_a_count_by_another_node_removes_nothing() -> None:
    store = Store()
    honest = [store.put(number) for number in range(2)]
    ids = [dump.key.id for dump in honest]
    for node in ("node2", "node1"):
        forged = {"count": 9, "firstTime": "a", "lastTime": "b", "folded": ids}
        counting = store.put(7, node=node, crashLoop=forged)
        folds = crash_loops.CrashLoops(store, RULES).folds("team-a", [*honest, counting], ())
        removals = [key for fold in folds for key in fold.counted]
        assert set(removals) >= {dump.key for dump in honest} if node == "node1" else not removals


def test_a_record_that_lies_at_anothers_place_moves_nothing() -> None:
    store = Store()
    stored = [store.put(number) for number in range(5)]
    for dump in stored:  # each says that it is of another pod
        store.records[dump.key] = store.records[dump.key].with_(podUID="victim")
    assert crash_loops.CrashLoops(store, RULES).folds("team-a", stored, ()) == []
