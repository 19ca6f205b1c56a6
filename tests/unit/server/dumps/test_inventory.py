from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest
from support import dumps

from coredumpd import errors
from coredumpd.formats import layout
from coredumpd.server import cluster
from coredumpd.server.dumps import inventory, own_namespace
from coredumpd.store import engines as stores
from coredumpd.store import interface

CREATED_S = 1_790_000_000
_T = TypeVar("_T")


class Cluster(cluster.NoCluster):
    """Namespaces by name; what is not there is away."""

    def __init__(self, **uids: str | None) -> None:
        self.uids = {name.replace("_", "-"): uid for name, uid in uids.items()}

    async def namespace(self, name: str, *, fresh: bool = False) -> cluster.Namespace | None:
        if name not in self.uids:
            raise errors.Unavailable("away")
        uid = self.uids[name]
        return None if uid is None else cluster.Namespace(name, uid, CREATED_S)


@pytest.fixture
def store(tmp_path: Path) -> interface.Store:
    return stores.open_store(tmp_path.as_uri())


def put(store: interface.Store, **changes: Any) -> layout.DumpKey:
    key, record, core = dumps.make(**changes)
    store.commit(key, record, core)
    return key


def ask(
    store: interface.Store,
    known: cluster.Cluster,
    question: Callable[[inventory.Inventory], Awaitable[_T]],
) -> _T:
    async def run() -> _T:
        stored = inventory.Inventory(own_namespace.Guard(store, known))
        try:
            return await question(stored)
        finally:
            stored.close()

    return asyncio.run(run())


def test_a_listing_of_everything_shows_each_namespaces_own_dumps(store: interface.Store) -> None:
    ours = [put(store, time_s=CREATED_S + 1000), put(store, namespace="team-b", namespaceUID="b")]
    put(store, pid=2, namespaceUID="old")
    put(store, namespace="gone")
    known = Cluster(team_a="a", team_b="b", gone=None)
    assert ask(store, known, lambda stored: stored.keys(None)) == ours


def test_a_listing_of_everything_fails_while_one_namespace_cannot_be_looked_up(
    store: interface.Store,
) -> None:
    put(store)
    put(store, namespace="team-b")
    with pytest.raises(errors.Unavailable):
        ask(store, Cluster(team_a="a"), lambda stored: stored.keys(None))


def test_a_remembered_record_is_not_shown_to_a_later_namespace(store: interface.Store) -> None:
    key = put(store, namespaceUID="a")
    known = Cluster(team_a="a")

    async def question(stored: inventory.Inventory) -> None:
        assert list(await stored.read([key])) == [key]
        known.uids["team-a"] = "b"
        assert list(await stored.read([key])) == []

    ask(store, known, question)


def test_a_pods_dumps_are_found_by_its_uid_and_only_under_its_name(
    store: interface.Store,
) -> None:
    key = put(store)
    pod = inventory.Pod("team-a", "web-0", dumps.POD_UID)
    other = inventory.Pod("team-a", "other", dumps.POD_UID)
    found = ask(store, cluster.NoCluster(), lambda stored: stored.of_pod(pod))
    assert [dump.key for dump in found] == [key]
    assert ask(store, cluster.NoCluster(), lambda stored: stored.of_pod(other)) == []


def test_the_newest_dump_tells_the_uid_of_a_pod(store: interface.Store) -> None:
    for uid, time in (("b", "2026-09-21T14:00:00Z"), ("a", "2026-09-21T15:00:00Z")):
        key, record, core = dumps.make(pod_uid=uid)
        store.commit(key, record.with_(time=time), core)
    uid = ask(store, cluster.NoCluster(), lambda stored: stored.uid_of("team-a", "web-0"))
    assert uid == "a"
    assert ask(store, cluster.NoCluster(), lambda stored: stored.uid_of("team-a", "x")) is None


def test_a_file_beside_a_dump_is_read_in_its_own_namespace_only(
    store: interface.Store, tmp_path: Path
) -> None:
    key = put(store, namespaceUID="a")
    (tmp_path / str(key) / "backtrace.txt").write_text("#0 main")
    read = lambda stored: stored.text(key, "backtrace.txt", 2)  # noqa: E731
    assert ask(store, Cluster(team_a="a"), read) == b"#0"
    with pytest.raises(errors.NotFound):
        ask(store, Cluster(team_a="b"), read)


def test_a_summary_counts_dumps_bytes_and_containers() -> None:
    made = [inventory.Dump(*dumps.make(container=name)[:2]) for name in ("b", "a", "b")]
    status = inventory.summary(made)
    assert status["dumps"] == 3
    assert status["bytes"] == sum(dump.record.stored_size for dump in made)
    assert status["containers"] == [{"name": "a", "dumps": 1}, {"name": "b", "dumps": 2}]
    assert status["lastCrash"] == made[-1].record.time
    assert inventory.summary([]) == {"dumps": 0, "bytes": 0, "containers": []}
