from __future__ import annotations

import asyncio

import pytest
from support import dumps

from coredumpd import errors
from coredumpd.server import cluster
from coredumpd.server.coredumps import catalog
from coredumpd.server.dumps import inventory, own_namespace
from coredumpd.store import engines as stores


@pytest.fixture
def run(tmp_path):
    """Runs a scenario(catalog, commit, clock); time moves only as the scenario says."""

    def run_(scenario):
        opened = stores.open_store(tmp_path.as_uri())

        def commit(**fields):
            key, entry, core = dumps.make(**fields)
            opened.commit(key, entry, core)
            return key

        async def main():
            stored = inventory.Inventory(own_namespace.Guard(opened, cluster.NoCluster()))
            try:
                await scenario(catalog.Catalog(stored), commit, opened)
            finally:
                stored.close()

        asyncio.run(main())

    return run_


@pytest.fixture
def clock(monkeypatch):
    """A monotonic clock for the catalog alone."""

    class Clock:
        now = 1000.0

        def monotonic(self):
            return self.now

        def time_ns(self):
            return int(self.now * 1e9)

    made = Clock()
    monkeypatch.setattr(catalog, "time", made)
    return made


def test_of_a_dump_that_nobody_was_shown_nobody_learns_that_it_is_gone(run, clock):
    """It may be of a former namespace, and its id tells what ran there."""

    async def scenario(known, commit, opened):
        first = commit(pid=1)
        await known.refresh("team-a")
        start = known.revision
        opened.delete(first)
        clock.now += 60
        await known.refresh("team-a")
        assert known.changes.after(start) == []

    run(scenario)


def test_what_came_and_went_is_told_with_growing_revisions(run, clock):
    async def scenario(known, commit, opened):
        first = commit(pid=1)
        await known.refresh("team-a")
        known.entries("team-a")[first.id].shown = True
        start = known.revision
        second = commit(pid=2)
        opened.delete(first)
        clock.now += 60
        await known.refresh("team-a")
        told = [(one.kind, one.obj["metadata"]["name"]) for one in known.changes.after(start)]
        assert sorted(told) == [("ADDED", second.id), ("DELETED", first.id)]
        assert known.revision > start
        assert list(known.entries("team-a")) == [second.id]

    run(scenario)


def test_a_revision_of_another_process_is_expired(run, clock):
    async def scenario(known, commit, opened):
        await known.refresh(None)
        start = known.revision
        commit(pid=1)
        clock.now += 60
        await known.refresh(None)
        assert len(known.changes.after(start)) == 1
        with pytest.raises(errors.Expired, match="another server's"):
            known.changes.after(start + 1)

    run(scenario)


def test_a_look_is_believed_for_half_a_second(run, clock):
    async def scenario(known, commit, opened):
        await known.refresh("team-a")
        commit(pid=1)
        clock.now += 0.4
        await known.refresh("team-a")
        assert not known.entries("team-a")
        clock.now += 0.2
        await known.refresh("team-a")
        assert known.entries("team-a")

    run(scenario)


def test_a_long_look_at_everything_does_not_keep_one_namespace_behind(run, clock, monkeypatch):
    scan = inventory.Inventory.keys

    async def slow(self, namespace):
        clock.now += 10 if namespace is None else 1
        return await scan(self, namespace)

    monkeypatch.setattr(inventory.Inventory, "keys", slow)

    async def scenario(known, commit, opened):
        await known.refresh(None)
        commit(pid=1)
        clock.now += 2
        await known.refresh(None)
        assert not known.entries("team-a")  # three times ten seconds are not over
        await known.refresh("team-a")
        assert known.entries("team-a")

    run(scenario)


def test_at_once_always_looks(run, clock):
    async def scenario(known, commit, opened):
        await known.refresh("team-a")
        commit(pid=1)
        await known.refresh("team-a", at_once=True)
        assert known.entries("team-a")

    run(scenario)


def test_a_revision_of_another_server_is_reached_and_one_to_come_is_refused(run, clock):
    async def scenario(known, commit, opened):
        await known.refresh(None)
        clock.now += 60
        others = int(clock.now * 1000) * 1_000_000 + 999_999
        assert known.reach(others) > others
        assert known.changes.latest == known.revision
        assert known.reach(0) == known.revision
        with pytest.raises(errors.TooLargeResourceVersion):
            known.reach(known.revision + 10**12)

    run(scenario)
