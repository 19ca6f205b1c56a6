"""Follows namespaces, this node's pods, and the notice of reached quotas: lists, then watches them.

A collection is there once it was listed whole. While the API is away, what was there still holds.
Belongs to one event loop.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from coredumpd.agent.tenants import lives, rules
from coredumpd.formats import annotations as dump_annotations
from coredumpd.formats import names, quota_notice
from coredumpd.kube import api, collection, pods

NAMESPACES, PODS, QUOTAS = "namespaces", "pods", "quotas"
_NO_ANNOTATIONS: Mapping[str, str] = {}  # one for the thousands of namespaces that have none
PodObserver = Callable[[dict[str, Any]], None]


@dataclasses.dataclass(frozen=True)
class Namespace:
    """One namespace: its uid and the annotations that are meant for us."""

    uid: str
    annotations: Mapping[str, str]


class Informer:
    """Follows the collections; `own_namespace` has the server's ConfigMap of reached quotas."""

    def __init__(
        self,
        kube: api.Api,
        node: str,
        own_namespace: str | None,
        on_pod: PodObserver = lambda _: None,
    ) -> None:
        """`on_pod` gets each pod of this node, listed and at each change. Must not raise."""
        self._kube = kube
        self._node = node
        self._own_namespace = own_namespace
        self._on_pod = on_pod
        self._collections: dict[str, dict[str, Any]] = {}

    async def run(self, on_change: Callable[[str], None]) -> None:
        """Follow for ever; `on_change` gets the name of the collection that changed."""
        own_pods = {"fieldSelector": f"spec.nodeName={self._node}"}
        sources = [
            (NAMESPACES, "/api/v1/namespaces", {}, _namespace),
            (PODS, "/api/v1/pods", own_pods, self._pod),
        ]
        if self._own_namespace is not None:
            path = f"/api/v1/namespaces/{self._own_namespace}/configmaps"
            notice = {"fieldSelector": f"metadata.name={quota_notice.CONFIG_MAP}"}
            sources.append((QUOTAS, path, notice, _reached))
        async with asyncio.TaskGroup() as jobs:
            for source in sources:
                jobs.create_task(self._follow(*source, on_change))

    @property
    def is_complete(self) -> bool:
        """Were namespaces and pods listed? Half of the rules must not replace the last agent's."""
        return {NAMESPACES, PODS} <= set(self._collections)

    def namespaces(self) -> Mapping[str, Namespace]:
        """Every namespace, by name."""
        return self._collections.get(NAMESPACES, {})

    def pods(self) -> list[rules.Pod]:
        """The pods of this node."""
        every: Iterable[rules.Pod | None] = self._collections.get(PODS, {}).values()
        return [pod for pod in every if pod is not None]

    def pod(self, uid: str) -> rules.Pod | None:
        """The pod of this node with this uid, which the API gave it."""
        pod: rules.Pod | None = self._collections.get(PODS, {}).get(uid)
        return pod

    def reached(self) -> frozenset[str] | None:
        """Names of namespaces whose quota is reached; None while the notice was not read."""
        notices = self._collections.get(QUOTAS)
        return None if notices is None else frozenset[str]().union(*notices.values())

    def _pod(self, document: dict[str, Any]) -> tuple[str, rules.Pod | None]:
        """None for a pod of another node: a server that ignores the selector must not matter."""
        meta = document["metadata"]
        if (document.get("spec") or {}).get("nodeName") != self._node:
            return meta["uid"], None
        self._on_pod(document)
        return meta["uid"], pod(document)

    async def _follow(
        self,
        name: str,
        path: str,
        query: dict[str, str],
        read: Callable[[dict[str, Any]], tuple[str, Any]],
        on_change: Callable[[str], None],
    ) -> None:
        """Keep the collection `name`: `read` gives each object's key and value."""
        values: dict[str, Any] = {}
        listing = True
        async for kind, item in collection.follow(self._kube, path, query):
            if kind == collection.LISTING:
                values, listing = {}, True
            elif kind == collection.LISTED:
                listing = False
            else:
                key, value = read(item)
                if kind == "DELETED":
                    values.pop(key, None)
                else:
                    values[key] = value
            if not listing:
                self._collections[name] = values
                on_change(name)


def pod(document: dict[str, Any]) -> rules.Pod:
    """A pod's facts from the API's object."""
    meta = document["metadata"]
    since_s = lives.created_s(document) or 0.0
    facts = (meta["namespace"], meta["name"], meta["uid"], pods.static_uid(document))
    return rules.Pod(*facts, dump_annotations.ours(meta), since_s)


def _namespace(document: dict[str, Any]) -> tuple[str, Any]:
    meta = document["metadata"]
    own = dump_annotations.ours(meta) or _NO_ANNOTATIONS
    return meta["name"], Namespace(str(meta["uid"]), own)


def _reached(document: dict[str, Any]) -> tuple[str, Any]:
    listed = sorted(filter(names.is_dns_label, quota_notice.reached(document)))
    return document["metadata"]["name"], frozenset(listed[: rules.NAMESPACES_MAX])
