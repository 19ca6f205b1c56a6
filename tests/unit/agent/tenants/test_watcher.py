from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from support import dumps
from support.kube import podspecs, watchedkube

from coredumpd import errors
from coredumpd.agent import events, metrics
from coredumpd.agent.tenants import watcher
from coredumpd.formats import quota_notice
from coredumpd.settings import sections

NAMESPACES, PODS = "/api/v1/namespaces", "/api/v1/pods"
CONFIG_MAPS = "/api/v1/namespaces/coredumpd/configmaps"


def made(api: watchedkube.Api, host_dir: Path) -> watcher.Watcher:
    scope = watcher.Scope(podspecs.NODE, host_dir, "coredumpd")
    settings = sections.PolicySettings()
    writer = events.Events(None, podspecs.NODE)
    return watcher.Watcher(api, settings, scope, writer, metrics.Metrics())


def snapshot(host_dir: Path) -> Any:
    path = host_dir / "policy.json"
    return json.loads(path.read_bytes()) if path.exists() else {}


def watched(one: watcher.Watcher, host_dir: Path, until: Any) -> Any:
    """The snapshot once `until` holds of it."""

    async def watch() -> None:
        async with asyncio.timeout(20):
            task = asyncio.create_task(one.run())
            while not until(snapshot(host_dir)):
                await asyncio.sleep(0.02)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    asyncio.run(watch())
    return snapshot(host_dir)


def cluster(**of_namespace: str) -> watchedkube.Api:
    api = watchedkube.Api()
    api.items[NAMESPACES] = [podspecs.namespace("default", "ns-1", **of_namespace)]
    api.items[PODS] = [podspecs.pod("default", "web", "1234-5678")]
    api.items[CONFIG_MAPS] = []
    return api


def test_rules_identities_and_quotas_are_in_one_snapshot_which_decides_over_dumps(
    tmp_path: Path,
) -> None:
    api = cluster(capture="disabled", encrypt_to="keys")
    api.items[CONFIG_MAPS] = [quota_notice.document(["shop"])]
    one = made(api, tmp_path)

    def is_proven(now: Any) -> bool:
        identity = now.get("identities", {}).get("1234-5678", {})
        return bool(identity.get("namespaceUID") and "shop" in now["namespaces"])

    now = watched(one, tmp_path, is_proven)
    assert now["namespaces"]["default"]["capture"] == "disabled"
    assert now["namespaces"]["shop"]["quotaReached"]
    assert one.refuses(dumps.crash())
    assert not one.is_free()
    assert one.life_of(dumps.crash()) == "ns-1"
    assert "annotation coredump.fujitsu.com/capture of its namespace" in (
        one.rule_against("default", "1234-5678") or ""
    )
    assert one.sealed_before("default", "ns-1") == "keys"
    assert one.annotations_of("default", "ns-1") == {"capture": "disabled", "encrypt-to": "keys"}
    assert one.annotations_of("default", "ns-of-another-life") is None


def test_half_of_the_rules_do_not_replace_the_last_agents(tmp_path: Path) -> None:
    watched(made(cluster(capture="disabled"), tmp_path), tmp_path, lambda now: now)
    api = cluster()
    del api.items[PODS]  # answers NotFound: the list cannot be read
    one = made(api, tmp_path)

    async def watch() -> None:
        task = asyncio.create_task(one.run())
        while one.annotations_of("default", "ns-1") != {}:
            await asyncio.sleep(0.02)
        await asyncio.sleep(2 * watcher.SETTLE_S)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(watch())
    assert snapshot(tmp_path)["namespaces"]["default"]["capture"] == "disabled"
    assert one.refuses(dumps.crash())


def test_until_the_notice_is_read_the_last_agents_quotas_stand(tmp_path: Path) -> None:
    api = cluster()
    api.items[CONFIG_MAPS] = [quota_notice.document(["shop"])]
    watched(made(api, tmp_path), tmp_path, lambda now: now.get("namespaces"))
    later = cluster(max_size="1Gi")
    del later.items[CONFIG_MAPS]
    now = watched(made(later, tmp_path), tmp_path, lambda now: "default" in now["namespaces"])
    assert now["namespaces"]["shop"]["quotaReached"]


def test_an_agent_that_never_asked_kubernetes_decides_nothing(tmp_path: Path) -> None:
    with pytest.raises(errors.Unavailable):
        made(cluster(), tmp_path).refuses(dumps.crash())
