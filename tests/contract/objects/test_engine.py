"""What every engine of `coredumpd.objects` promises; `engine` has a param per engine."""

from __future__ import annotations

import threading
import time

import pytest

from coredumpd import errors


def drain(watch, count, timeout_s=10.0):
    events, deadline = [], time.monotonic() + timeout_s
    while len(events) < count and time.monotonic() < deadline:
        events += watch.next(0.2)
    return events


def test_an_empty_store_has_a_revision_above_0(engine):
    assert engine.revision() >= 1
    assert engine.list("/a/").items == []


def test_what_was_created_is_read_back(engine):
    before = engine.revision()
    revision = engine.create("/a/x", b"\x00one")
    assert revision > before
    item = engine.get("/a/x")
    assert (item.key, item.value, item.revision) == ("/a/x", b"\x00one", revision)
    assert engine.revision() == revision


def test_what_is_not_there_is_none(engine):
    assert engine.get("/a/x") is None


def test_creating_twice_is_already_exists(engine):
    engine.create("/a/x", b"1")
    with pytest.raises(errors.AlreadyExists):
        engine.create("/a/x", b"2")


def test_creating_again_after_a_deletion_is_fine(engine):
    engine.delete("/a/x", engine.create("/a/x", b"1"))
    assert engine.get("/a/x") is None
    again = engine.create("/a/x", b"2")
    assert engine.get("/a/x").revision == again


def test_an_update_needs_the_revision_that_is_there(engine):
    first = engine.create("/a/x", b"1")
    second = engine.update("/a/x", b"2", first)
    assert second > first
    with pytest.raises(errors.Conflict):
        engine.update("/a/x", b"3", first)
    with pytest.raises(errors.Conflict):
        engine.update("/a/y", b"3", second)
    assert engine.get("/a/x").value == b"2"


def test_a_deletion_needs_the_revision_that_is_there(engine):
    first = engine.create("/a/x", b"1")
    engine.update("/a/x", b"2", first)
    with pytest.raises(errors.Conflict):
        engine.delete("/a/x", first)
    assert engine.get("/a/x") is not None
    with pytest.raises(errors.Conflict):
        engine.delete("/a/y", first)


def test_a_listing_is_by_prefix_and_in_order(engine):
    for key in ("/a/y", "/b/x", "/a/x", "/ab/x"):
        engine.create(key, key.encode())
    page = engine.list("/a/")
    assert [item.key for item in page.items] == ["/a/x", "/a/y"]
    assert page.revision == engine.revision()
    assert (page.remaining, page.more) == (0, False)


def test_a_listing_in_pages_is_of_one_revision(engine):
    for number in range(7):
        engine.create(f"/a/{number}", b"old")
    first = engine.list("/a/", limit=3)
    assert [item.key for item in first.items] == ["/a/0", "/a/1", "/a/2"]
    assert first.remaining == 4
    engine.create("/a/31", b"later")
    engine.update("/a/5", b"new", engine.get("/a/5").revision)
    engine.delete("/a/6", engine.get("/a/6").revision)
    second = engine.list("/a/", limit=3, after="/a/2", revision=first.revision)
    third = engine.list("/a/", limit=3, after="/a/5", revision=first.revision)
    assert [(item.key, item.value) for item in second.items] == [
        ("/a/3", b"old"),
        ("/a/4", b"old"),
        ("/a/5", b"old"),
    ]
    assert [item.key for item in third.items] == ["/a/6"]
    assert (second.remaining, third.remaining) == (1, 0)


def test_a_compacted_revision_cannot_be_listed_or_watched(engine):
    first = engine.create("/a/x", b"1")
    second = engine.update("/a/x", b"2", first)
    third = engine.update("/a/x", b"3", second)
    engine.compact(third)
    with pytest.raises(errors.Expired):
        engine.list("/a/", revision=first)
    with pytest.raises(errors.Expired):
        drain(engine.watch("/a/", first), 1, 5)
    assert [item.value for item in engine.list("/a/", revision=third).items] == [b"3"]


def test_compaction_keeps_what_lives(engine):
    engine.create("/a/x", b"1")
    engine.delete("/a/y", engine.create("/a/y", b"1"))
    engine.create("/a/z", b"1")
    engine.compact(engine.revision())
    engine.compact(engine.revision())
    assert [item.key for item in engine.list("/a/").items] == ["/a/x", "/a/z"]
    assert engine.create("/a/y", b"2") == engine.revision()


def test_a_revision_to_come_cannot_be_listed(engine):
    now = engine.revision()
    with pytest.raises(errors.TooLargeResourceVersion, match=f"{now + 100}, current: {now}"):
        engine.list("/a/", revision=now + 100)
    with pytest.raises(errors.TooLargeResourceVersion, match=f"{now + 100}, current: {now}"):
        engine.check(now + 100)


def test_a_revision_of_an_earlier_store_is_expired(engine):
    for revision in (1, 2, 1000, 10**17):
        with pytest.raises(errors.Expired):
            engine.check(revision)
        with pytest.raises(errors.Expired):
            engine.list("/a/", revision=revision)
        with pytest.raises(errors.Expired):
            drain(engine.watch("/a/", revision), 1, 5)


def test_the_present_revision_can_be_read_and_watched(engine):
    revision = engine.create("/a/x", b"1")
    assert engine.check(revision) == engine.check(0) == revision


def test_a_page_ends_where_it_has_enough_bytes(engine):
    for number in range(70):
        engine.create(f"/a/{number:02}", b"x" * 1000)
    first = engine.list("/a/", size_max=1)
    assert first.more
    assert 1 <= len(first.items) <= 32
    keys, page = [item.key for item in first.items], first
    while page.more:
        page = engine.list("/a/", size_max=5000, after=keys[-1], revision=first.revision)
        keys += [item.key for item in page.items]
    assert keys == [f"/a/{number:02}" for number in range(70)]


def test_a_watch_tells_every_write_in_order_with_what_it_replaced(engine):
    start = engine.revision()
    first = engine.create("/a/x", b"1")
    engine.create("/b/x", b"elsewhere")
    second = engine.update("/a/x", b"2", first)
    third = engine.delete("/a/x", second)
    watch = engine.watch("/a/", start)
    told = [(e.kind, e.key, e.value, e.revision, e.previous) for e in drain(watch, 3)]
    watch.close()
    assert told == [
        ("ADDED", "/a/x", b"1", first, None),
        ("MODIFIED", "/a/x", b"2", second, b"1"),
        ("DELETED", "/a/x", b"2", third, b"2"),
    ]


def test_a_watch_wakes_on_a_write(engine):
    watch = engine.watch("/a/", engine.revision())
    assert list(watch.next(0.05)) == []
    writer = threading.Timer(0.2, engine.create, ("/a/x", b"1"))
    writer.start()
    assert [event.key for event in drain(watch, 1)] == ["/a/x"]
    writer.join()
    watch.close()


def test_a_watch_from_the_middle_tells_only_what_follows(engine):
    first = engine.create("/a/x", b"1")
    second = engine.update("/a/x", b"2", first)
    watch = engine.watch("/a/", first)
    assert [event.revision for event in drain(watch, 1)] == [second]
    watch.close()


def test_a_second_opening_sees_the_first_ones_writes_and_watches_them(open_engine):
    one, two = open_engine(), open_engine()
    watch = two.watch("/a/", two.revision())
    revision = one.create("/a/x", b"1")
    assert two.get("/a/x").revision == revision
    assert [event.value for event in drain(watch, 1)] == [b"1"]
    watch.close()


def test_of_many_writers_with_one_revision_exactly_one_wins(engine):
    revision = engine.create("/a/x", b"0")
    won, lost = [], []

    def write(number: int) -> None:
        try:
            won.append(engine.update("/a/x", str(number).encode(), revision))
        except errors.Conflict:
            lost.append(number)

    writers = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert (len(won), len(lost)) == (1, 7)


def test_everything_is_there_after_a_restart(open_engine):
    one = open_engine()
    revision = one.create("/a/x", b"1")
    one.close()
    two = open_engine()
    assert two.get("/a/x").revision == revision
    assert two.revision() == revision
