"""Members that die and hang, answers that get lost: nothing written is lost, nothing told twice."""

from __future__ import annotations

import contextlib
import signal
import threading
import time

import pytest
from support import waiting
from support.storage import cutting

from coredumpd import errors
from coredumpd.objects.etcd import engine as etcd

UNTIL_S = 20.0
WATCHERS = "etcd_debugging_mvcc_watcher_total"


def drain(watch, last, timeout_s=UNTIL_S):
    """Events until the one of revision `last`, riding out what `Watch.next` allows."""
    events, deadline = [], time.monotonic() + timeout_s
    while (not events or events[-1].revision < last) and time.monotonic() < deadline:
        with contextlib.suppress(errors.Unavailable):
            events += watch.next(0.2)
    return events


def leader(cluster, member=0):
    status = cluster.ask("maintenance/status", {}, member=member)
    members = cluster.ask("cluster/member/list", {}, member=member)["members"]
    names = {entry["ID"]: entry["name"] for entry in members}
    return int(names[status["leader"]].removeprefix("m"))


def test_after_a_restart_everything_goes_on(single, open_on):
    engine = open_on(single)
    first = engine.create("/a/x", b"1")
    watch = engine.watch("/a/", first)
    assert list(watch.next(0.2)) == []
    single.kill(0)
    with pytest.raises(errors.Unavailable):
        engine.get("/a/x")
    single.start(0)
    assert waiting.answered(engine.get, "/a/x").revision == first
    second = waiting.answered(engine.update, "/a/x", b"2", first)
    assert [(event.kind, event.value) for event in drain(watch, second)] == [("MODIFIED", b"2")]
    watch.close()


def test_without_etcd_a_watch_says_unavailable_and_goes_on_later(single, open_on):
    engine = open_on(single)
    watch = engine.watch("/a/", engine.revision())
    watch.next(0.1)
    single.kill(0)
    with pytest.raises(errors.Unavailable):
        watch.next(5)
    with pytest.raises(errors.Unavailable):
        watch.next(5)
    single.start(0)
    revision = waiting.answered(engine.create, "/a/x", b"1")
    assert [event.key for event in drain(watch, revision)] == ["/a/x"]
    watch.close()


def test_a_watch_that_was_away_too_long_is_expired(single, open_on):
    engine = open_on(single)
    revision = engine.create("/a/x", b"1")
    watch = engine.watch("/a/", revision)
    watch.next(0.1)
    single.kill(0)
    single.start(0)
    for value in (b"2", b"3"):
        revision = waiting.answered(engine.update, "/a/x", value, revision)
    engine.compact(revision)
    with pytest.raises(errors.Expired):
        drain(watch, revision)
    watch.close()


def test_the_leader_dies_under_load_and_nothing_is_lost(three, open_on):
    writer, reader = open_on(three, root="/coredumpd/load"), open_on(three, root="/coredumpd/load")
    start = revision = writer.create("/a/x", b"0")
    watch = reader.watch("/a/", start)
    acknowledged, unknown, stop = [], [], threading.Event()

    def write():
        nonlocal revision
        number = 0
        while not stop.is_set():
            number += 1
            try:
                revision = writer.update("/a/x", str(number).encode(), revision)
                acknowledged.append((revision, str(number).encode()))
            except errors.CoredumpdError:
                unknown.append(str(number).encode())
                with contextlib.suppress(errors.Unavailable):
                    revision = writer.get("/a/x").revision

    thread = threading.Thread(target=write)
    thread.start()
    waiting.until("some writes", lambda: len(acknowledged) > 50, UNTIL_S, 0.05)
    dead = leader(three)
    three.kill(dead)
    before = len(acknowledged)
    waiting.until("writes at another leader", lambda: len(acknowledged) > before + 50, UNTIL_S, 0.1)
    stop.set()
    thread.join()
    three.start(dead)
    told = [(event.revision, event.value) for event in drain(watch, acknowledged[-1][0])]
    watch.close()
    assert [event for event in told if event[1] not in unknown] == [
        event for event in acknowledged if event[1] not in unknown
    ]
    assert [number for number, _ in told] == sorted({number for number, _ in told})
    three.wait_ready(dead)


def test_a_member_that_is_gone_is_left_for_the_next_at_once(three, open_on):
    engine = open_on(three)
    watch = engine.watch("/a/", engine.revision())
    watch.next(0.1)
    three.kill(0)
    first = waiting.answered(engine.create, "/a/x", b"1")
    assert [event.key for event in drain(watch, first)] == ["/a/x"]
    three.start(0)
    three.wait_ready(0)
    watch.close()


def test_without_a_quorum_everything_says_unavailable_and_recovers(three, open_on):
    engine = open_on(three, limits=etcd.Limits(answer_timeout_s=1.0))
    revision = engine.create("/a/x", b"1")
    watch = engine.watch("/a/", revision)
    watch.next(0.1)
    three.kill(1)
    three.kill(2)
    with pytest.raises(errors.Unavailable):
        engine.get("/a/x")
    with pytest.raises(errors.Unavailable):
        engine.update("/a/x", b"2", revision)

    def watch_is_unavailable():
        try:
            watch.next(0.2)
        except errors.Unavailable:
            return True
        return False

    waiting.until("a watch without a leader to say so", watch_is_unavailable, UNTIL_S, 0.1)
    three.start(1)
    three.start(2)
    current = waiting.answered(engine.get, "/a/x")
    assert current.value in (b"1", b"2")
    last = waiting.answered(engine.update, "/a/x", b"3", current.revision)
    assert drain(watch, last)[-1].value == b"3"
    three.wait_ready(1)
    three.wait_ready(2)
    watch.close()


def test_a_member_that_hangs_is_left_by_requests_and_watches(three, open_on):
    limits = etcd.Limits(answer_timeout_s=0.5, watch_silence_max_s=0.5)
    hung = next(member for member in range(3) if member != leader(three))
    ports = [three.ports[hung], *(port for port in three.ports if port != three.ports[hung])]
    engine = open_on(three, *ports, root="/coredumpd/hung", limits=limits)
    other = open_on(three, *ports[1:], root="/coredumpd/hung", limits=limits)
    watch = engine.watch("/a/", engine.revision())
    watch.next(0.1)
    three.signal(hung, signal.SIGSTOP)
    try:
        revision = other.create("/a/x", b"1")
        assert [event.key for event in drain(watch, revision)] == ["/a/x"]
        assert engine.get("/a/x").revision == revision
    finally:
        three.signal(hung, signal.SIGCONT)
    watch.close()


@pytest.fixture
def proxied(single, open_on):
    proxy = cutting.Proxy(single.ports[0])
    yield proxy, open_on(single, proxy.port)
    proxy.close()


def test_a_write_that_was_done_before_its_answer_was_lost_is_found(proxied):
    proxy, engine = proxied
    engine.revision()
    proxy.cut("answer")
    first = engine.create("/a/x", b"1")
    assert engine.get("/a/x").revision == first
    proxy.cut("answer")
    second = engine.update("/a/x", b"2", first)
    assert (engine.get("/a/x").value, engine.get("/a/x").revision) == (b"2", second)
    proxy.cut("answer")
    third = engine.delete("/a/x", second)
    assert engine.get("/a/x") is None
    assert third > second
    assert not proxy.armed


def test_a_write_that_never_arrived_is_unknown_and_not_repeated(proxied):
    proxy, engine = proxied
    revision = engine.create("/a/x", b"1")
    calls = [
        (engine.create, "/a/y", b"1"),
        (engine.update, "/a/x", b"2", revision),
        (engine.delete, "/a/x", revision),
    ]
    for call, *arguments in calls:
        proxy.cut("request")
        with pytest.raises(errors.Unavailable, match="look again"):
            call(*arguments)
    assert engine.get("/a/y") is None
    assert engine.get("/a/x").revision == revision
    assert engine.revision() == revision


def test_a_lost_answer_is_no_excuse_for_a_conflict(proxied, single, open_on):
    proxy, engine = proxied
    revision = engine.create("/a/x", b"1")
    engine.update("/a/x", b"2", revision)
    proxy.cut("answer")
    with pytest.raises(errors.Conflict):
        engine.update("/a/x", b"3", revision)
    proxy.cut("answer")
    with pytest.raises(errors.AlreadyExists):
        engine.create("/a/x", b"3")


def test_a_read_whose_answer_was_lost_is_repeated(proxied):
    proxy, engine = proxied
    revision = engine.create("/a/x", b"1")
    proxy.cut("answer")
    assert engine.get("/a/x").revision == revision
    assert not proxy.armed


def test_a_listing_of_many_pages_is_whole_and_of_one_revision(single, open_on):
    engine = open_on(single, limits=etcd.Limits(page=3))
    for number in range(10):
        engine.create(f"/a/{number}", b"1")
    page = engine.list("/a/")
    assert [item.key for item in page.items] == [f"/a/{number}" for number in range(10)]
    assert (page.revision, page.remaining) == (engine.revision(), 0)
    part = engine.list("/a/", limit=7)
    assert (len(part.items), part.remaining) == (7, 3)


def test_history_of_many_megabytes_is_told_whole(single, open_on):
    engine = open_on(single)
    start = engine.revision()
    value = b"x" * 1_000_000
    last = 0
    for number in range(6):
        last = engine.create(f"/a/{number}", value)
    watch = engine.watch("/a/", start)
    events = drain(watch, last)
    assert [event.key for event in events] == [f"/a/{number}" for number in range(6)]
    assert {event.value for event in events} == {value}
    watch.close()


def test_a_value_that_etcd_cannot_take_is_too_large(single, open_on):
    with pytest.raises(errors.TooLarge):
        open_on(single).create("/a/x", b"x" * 2_000_000)


def test_a_closed_watch_is_closed_in_etcd_and_frees_its_thread(single, open_on):
    engine = open_on(single)
    threads, in_etcd = threading.active_count(), single.metric(WATCHERS)
    watches = [engine.watch("/a/", engine.revision()) for _ in range(5)]
    for watch in watches:
        watch.next(0.05)
    assert threading.active_count() == threads + 5
    assert single.metric(WATCHERS) == in_etcd + 5
    for watch in watches:
        watch.close()
        watch.close()
    waiting.until("threads", lambda: threading.active_count() == threads, UNTIL_S, 0.05)
    waiting.until("etcd", lambda: single.metric(WATCHERS) == in_etcd, UNTIL_S, 0.1)
    assert list(watches[0].next(5)) == []


def test_closing_a_watch_wakes_who_waits_on_it(single, open_on):
    engine = open_on(single)
    watch = engine.watch("/a/", engine.revision())
    closer = threading.Timer(0.3, watch.close)
    closer.start()
    began = time.monotonic()
    assert list(watch.next(60)) == []
    assert time.monotonic() - began < 30
    closer.join()
