"""The compactor on every engine."""

from __future__ import annotations

import functools

import pytest
from support import waiting

from coredumpd import errors
from coredumpd.objects import compaction


def compacted(engine, revision):
    try:
        engine.list("/a/", revision=revision)
    except errors.Expired:
        return True
    return False


def _is_at(watch, revision):
    assert list(watch.next(0.05)) == []
    return watch.revision >= revision


def test_history_is_kept_for_one_to_two_ticks(engine):
    before = engine.create("/a/x", b"1")
    first = compaction.tick(engine, 0)
    between = engine.create("/a/y", b"1")
    second = compaction.tick(engine, first)
    assert compacted(engine, before)
    assert not compacted(engine, between)
    compaction.tick(engine, second)
    assert compacted(engine, between)
    assert [item.key for item in engine.list("/a/").items] == ["/a/x", "/a/y"]


def test_of_two_replicas_that_tick_in_turn_one_compacts(engine):
    one = compaction.tick(engine, 0)
    two = compaction.tick(engine, 0)
    assert two == one
    between = engine.create("/a/x", b"1")
    one = compaction.tick(engine, one)
    two = compaction.tick(engine, two)
    assert two == one
    assert not compacted(engine, between)


def test_a_restarted_replica_does_not_compact_at_once(engine):
    compaction.tick(engine, 0)
    between = engine.create("/a/x", b"1")
    compaction.tick(engine, 0)
    assert not compacted(engine, between)


def test_the_compactor_ticks_until_closed(engine):
    before = engine.create("/a/x", b"1")
    compactor = compaction.Compactor(engine, interval_s=0.05)
    waiting.until("a compaction", lambda: compacted(engine, before), 10, 0.05)
    compactor.close()
    mark = engine.get(compaction.MARK).revision
    with pytest.raises(errors.AlreadyExists):
        engine.create(compaction.MARK, b"")
    assert engine.get(compaction.MARK).revision == mark


def test_an_idle_watch_is_moved_forward_by_the_compactor_and_does_not_expire(engine):
    watch = engine.watch("/a/", engine.revision())
    tick = 0
    for _ in range(4):
        tick = compaction.tick(engine, tick)
        waiting.until("the watch to move on", functools.partial(_is_at, watch, tick), 10, 0.01)
    again = engine.watch("/a/", watch.revision)
    engine.create("/a/x", b"1")
    assert [event.key for event in again.next(5)] == ["/a/x"]
    again.close()
    watch.close()


def test_history_is_cut_to_half_whenever_another_half_has_been_written():
    history = compaction.History(1000)
    marks = {revision: history.add(100, revision) for revision in range(1, 41)}
    assert {revision: mark for revision, mark in marks.items() if mark} == {
        revision: revision - 5 for revision in range(10, 41, 5)
    }
