from __future__ import annotations

import asyncio
from typing import Any

from support.kube import podspecs, watchedkube

from coredumpd.agent.tenants import informer
from coredumpd.formats import quota_notice

NAMESPACES, PODS = "/api/v1/namespaces", "/api/v1/pods"
CONFIG_MAPS = "/api/v1/namespaces/coredumpd/configmaps"


def followed(api: watchedkube.Api, changes: Any = (), **named: Any) -> Any:
    """The informer after the lists and these changes."""
    seen = informer.Informer(api, podspecs.NODE, "coredumpd", **named)

    async def follow() -> None:
        async with asyncio.timeout(10):
            heard: asyncio.Queue[str] = asyncio.Queue()
            task = asyncio.create_task(seen.run(heard.put_nowait))
            for _ in api.items:
                await heard.get()
            for change in changes:
                await api.change(*change)
                await heard.get()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    asyncio.run(follow())
    return seen


def cluster() -> watchedkube.Api:
    api = watchedkube.Api()
    api.items[NAMESPACES] = [podspecs.namespace("default", max_size="1Gi")]
    api.items[PODS] = [podspecs.pod("default", "web")]
    api.items[CONFIG_MAPS] = [quota_notice.document(["default", "Not_A_Label"])]
    return api


def test_what_was_listed_is_there_and_asked_for_by_the_narrowest_selectors() -> None:
    api = cluster()
    seen = followed(api)
    assert seen.is_complete
    assert seen.namespaces()["default"] == informer.Namespace("ns-default", {"max-size": "1Gi"})
    assert [pod.name for pod in seen.pods()] == ["web"]
    assert seen.reached() == {"default"}
    assert api.queries[PODS]["fieldSelector"] == f"spec.nodeName={podspecs.NODE}"
    assert api.queries[CONFIG_MAPS]["fieldSelector"] == f"metadata.name={quota_notice.CONFIG_MAP}"


def test_changes_replace_and_remove_what_was_listed() -> None:
    changed = podspecs.pod("default", "web", capture="disabled")
    changes = [
        (PODS, "MODIFIED", changed),
        (PODS, "ADDED", podspecs.pod("default", "other")),
        (PODS, "DELETED", podspecs.pod("default", "other")),
    ]
    (pod,) = followed(cluster(), changes).pods()
    assert pod.annotations == {"capture": "disabled"}


def test_a_pod_of_another_node_is_nobodys_whatever_the_server_sends() -> None:
    api = cluster()
    api.items[PODS][0]["spec"]["nodeName"] = "node2"
    observed: list[Any] = []
    seen = followed(api, on_pod=observed.append)
    assert seen.pods() == observed == []
    assert seen.is_complete


def test_each_pod_is_observed_when_it_is_listed_and_when_it_changes() -> None:
    observed: list[Any] = []
    changed = podspecs.pod("default", "web", capture="disabled")
    followed(cluster(), [(PODS, "MODIFIED", changed)], on_pod=observed.append)
    assert observed == [podspecs.pod("default", "web"), changed]


def test_nothing_is_complete_before_both_lists_are_read() -> None:
    seen = informer.Informer(cluster(), podspecs.NODE, None)
    assert not seen.is_complete
    assert seen.reached() is None
