from __future__ import annotations

import asyncio
from typing import Any

import pytest
from support import clock as clocks

from coredumpd import errors
from coredumpd.server import cluster

CREATED, CREATED_S = "2026-09-01T00:00:00Z", 1_788_220_800


class Kube:
    """Answers by path; pods come in pages of one. Counts what it is asked."""

    def __init__(self) -> None:
        meta = {"name": "team-a", "uid": "new", "creationTimestamp": CREATED}
        self.namespace: Any = {"metadata": meta}
        self.pods = [{"metadata": {"name": f"web-{n}", "uid": f"uid-{n}"}} for n in range(3)]
        self.away: Exception | None = None
        self.asked: list[str] = []

    async def request(
        self, method: str, path: str, body: Any = None, *, query: Any = None, **_: Any
    ) -> tuple[int, Any]:
        self.asked.append(path)
        await asyncio.sleep(0)
        if self.away is not None:
            raise self.away
        if path.endswith("/pods"):
            start = int((query or {}).get("continue", 0))
            token = str(start + 1) if start + 1 < len(self.pods) else ""
            return 200, {"metadata": {"continue": token}, "items": self.pods[start : start + 1]}
        if path.endswith("/namespaces/team-a"):
            return 200, self.namespace
        raise errors.NotFound(path)


@pytest.fixture
def kube() -> Kube:
    return Kube()


def test_a_namespace_is_looked_up_once_in_five_seconds(kube: Kube) -> None:
    async def scenario() -> None:
        clock = clocks.Clock(1000.0)
        known = cluster.KubeCluster(kube, clock)
        first = await known.namespace("team-a")
        assert first == cluster.Namespace("team-a", "new", CREATED_S)
        assert await known.namespace("gone") is None
        assert (await known.namespace("team-a"), await known.namespace("gone")) == (first, None)
        assert len(kube.asked) == 2
        clock.now_s += 6
        await known.namespace("team-a")
        assert len(kube.asked) == 3

    asyncio.run(scenario())


def test_many_who_ask_at_once_share_one_lookup(kube: Kube) -> None:
    async def scenario() -> None:
        known = cluster.KubeCluster(kube)
        lives = await asyncio.gather(*(known.namespace("team-a") for _ in range(50)))
        assert {life and life.uid for life in lives} == {"new"}
        assert len(kube.asked) == 1

    asyncio.run(scenario())


def test_one_that_gives_up_takes_nobodys_answer_away(kube: Kube) -> None:
    async def scenario() -> None:
        known = cluster.KubeCluster(kube)
        first, second = (asyncio.create_task(known.namespace("team-a")) for _ in range(2))
        await asyncio.sleep(0)
        first.cancel()
        assert (await second) is not None

    asyncio.run(scenario())


def test_a_fresh_look_is_at_kubernetes_and_is_remembered(kube: Kube) -> None:
    async def scenario() -> None:
        known = cluster.KubeCluster(kube)
        await known.namespace("team-a")
        kube.namespace["status"] = {"phase": "Terminating"}
        cached, fresh = await known.namespace("team-a"), await known.namespace("team-a", fresh=True)
        assert cached is not None
        assert fresh is not None
        assert (cached.terminating, fresh.terminating) == (False, True)
        assert await known.namespace("team-a") == fresh

    asyncio.run(scenario())


@pytest.mark.parametrize("error", [errors.Unavailable("away"), errors.Forbidden("no")])
def test_no_answer_about_a_namespace_is_unavailable_and_is_not_remembered(
    kube: Kube, error: Exception
) -> None:
    async def scenario() -> None:
        known = cluster.KubeCluster(kube)
        kube.away = error
        with pytest.raises(errors.Unavailable):
            await known.namespace("team-a")
        kube.away = None
        assert await known.namespace("team-a") is not None

    asyncio.run(scenario())


def test_the_uids_of_a_namespaces_pods_are_of_every_page(kube: Kube) -> None:
    async def scenario() -> None:
        known = cluster.KubeCluster(kube)
        uids = {"web-0": "uid-0", "web-1": "uid-1", "web-2": "uid-2"}
        assert await known.pod_uids("team-a") == uids
        assert await known.pod_uids("team-a") == uids
        assert await known.living_uids("team-a") == set(uids.values())
        assert len(kube.asked) == 6

    asyncio.run(scenario())


def test_uids_that_cannot_be_read_are_unknown_not_none(kube: Kube) -> None:
    kube.away = errors.Unavailable("away")
    assert asyncio.run(cluster.KubeCluster(kube).pod_uids("team-a")) is None


def test_without_kubernetes_every_namespace_is_there_and_no_pod_is_known() -> None:
    async def scenario() -> None:
        alone = cluster.NoCluster()
        namespace = await alone.namespace("anything")
        assert namespace is not None
        assert namespace.uid is None
        assert await alone.uid_of("anything", "web-0") is None
        assert await alone.pod_uids("anything") is None

    asyncio.run(scenario())
