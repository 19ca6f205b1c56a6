from __future__ import annotations

import asyncio

import pytest

from coredumpd import errors
from coredumpd.apiserver.rest import watch_cache


def change(revision: int, size: int = 1) -> watch_cache.Change:
    return watch_cache.Change("ADDED", {}, None, revision, size)


def test_what_came_after_a_revision_is_told():
    made = watch_cache.WatchCache()
    made.start(10)
    made.push([change(11), change(13)])
    assert [one.revision for one in made.after(10)] == [11, 13]
    assert [one.revision for one in made.after(11)] == [13]
    assert list(made.after(99)) == []


def test_below_what_is_kept_is_expired():
    made = watch_cache.WatchCache()
    made.start(10)
    with pytest.raises(errors.Expired):
        made.after(9)
    made.push([change(revision) for revision in range(11, 12 + watch_cache.CHANGES_MAX)])
    with pytest.raises(errors.Expired):
        made.after(10)
    assert len(made.after(11)) == watch_cache.CHANGES_MAX


def test_large_changes_push_old_ones_out():
    made = watch_cache.WatchCache()
    made.start(0)
    made.push([change(1, watch_cache.BYTES_MAX), change(2, 1)])
    with pytest.raises(errors.Expired):
        made.after(0)
    assert [one.revision for one in made.after(1)] == [2]


def test_a_new_start_expires_everybody_and_wakes_them():
    made, wake = watch_cache.WatchCache(), asyncio.Event()
    made.start(5)
    made.join(wake)
    made.start(8)
    assert wake.is_set()
    with pytest.raises(errors.Expired):
        made.after(5)
    made.leave(wake)
    made.leave(wake)
    assert made.watchers == 0


def test_a_few_changes_are_told_at_a_time_and_at_least_one():
    made = watch_cache.WatchCache()
    made.start(0)
    made.push([change(1, 100), change(2, 5), change(3, 5), change(4, 5)])
    assert [one.revision for one in made.after(0, 10)] == [1]
    assert [one.revision for one in made.after(1, 10)] == [2, 3]
