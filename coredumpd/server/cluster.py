"""Namespaces and pods as Kubernetes has them; a server that stands alone has `NoCluster`."""

from __future__ import annotations

import asyncio
import dataclasses
import time
import urllib.parse
from collections.abc import AsyncIterator, Callable, Mapping, MutableMapping
from typing import Any, Protocol

from coredumpd import cache, errors, units
from coredumpd.formats import annotations as namespace_annotations
from coredumpd.kube import api, collection, pods

_CACHE_S = 5.0
_NAMESPACES_MAX = 1024
_UIDS_NAMESPACES_MAX = 256  # namespaces whose pods' uids are remembered
_LOOKUPS_MAX = 16  # at once
_NODES_MAX = 100_000  # pods whose node is remembered, about 20 MB
_TIMEOUT_S = 5.0
_LIST_TIMEOUT_S = 30.0


@dataclasses.dataclass(frozen=True)
class Namespace:
    """One life of a namespace: from its creation until another one may have its name.

    `uid` None: of an unknown life, which is every life of that name. Only `NoCluster` has such.
    """

    name: str
    uid: str | None
    created_s: float  # since the epoch
    terminating: bool = False
    annotations: Mapping[str, str] = dataclasses.field(default_factory=dict)  # ours, no prefix

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Namespace:
        """From the API's object."""
        meta = document["metadata"]
        return cls(
            name=meta["name"],
            uid=str(meta["uid"]),
            created_s=units.parse_timestamp(meta["creationTimestamp"]),
            terminating=(document.get("status") or {}).get("phase") == "Terminating",
            annotations=namespace_annotations.ours(meta),
        )


@dataclasses.dataclass(frozen=True)
class Pod:
    """A pod as the API has it. `node` "": it is not scheduled yet."""

    uid: str
    uids: frozenset[str]  # the node knows a static pod by a uid of its own
    node: str
    annotations: Mapping[str, str]  # ours, without the prefix

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Pod:
        """From the API's object."""
        meta, node = document["metadata"], (document.get("spec") or {}).get("nodeName") or ""
        owners = meta.get("ownerReferences") or []
        is_static = any(one.get("kind") == "Node" and one.get("name") == node for one in owners)
        uids = pods.uids(dict(document)) if is_static else {meta["uid"]}
        return cls(str(meta["uid"]), frozenset(uids), node, namespace_annotations.ours(meta))


class Cluster(Protocol):
    """All methods raise Unavailable when Kubernetes gives no answer, or not to this server."""

    acts_on_finalizers: bool
    """Is there somebody who acts on the finalizers of an object, and removes them?"""

    async def namespace(self, name: str, *, fresh: bool = False) -> Namespace | None:
        """The namespace's present life, None when there is no such namespace.

        As it was at most some seconds ago; `fresh`: as it is now.
        """

    async def uid_of(self, namespace: str, name: str) -> str | None:
        """The living pod's uid; None when that cannot be known. Raises NotFound: no such pod."""

    async def pod_uids(self, namespace: str) -> Mapping[str, str] | None:
        """The uid by name of every living pod, some seconds old; None when it cannot be known."""


class KubeCluster:
    """Asks kube-apiserver. Belongs to one event loop."""

    acts_on_finalizers = True

    def __init__(self, kube: api.Requests, clock: Callable[[], float] = time.monotonic) -> None:
        self._kube = kube
        self._namespaces: MutableMapping[str, Namespace | None]
        self._namespaces = cache.expiring(_NAMESPACES_MAX, _CACHE_S, clock)
        self._lookups: dict[str, asyncio.Task[Namespace | None]] = {}
        self._slots = asyncio.Semaphore(_LOOKUPS_MAX)
        self._uids: MutableMapping[str, Mapping[str, str] | None]
        self._uids = cache.expiring(_UIDS_NAMESPACES_MAX, _CACHE_S, clock)
        self._nodes = cache.recent(_NODES_MAX)  # by namespace and uid, of pods seen, gone or not

    async def namespace(self, name: str, *, fresh: bool = False) -> Namespace | None:
        """See `Cluster`. Callers that ask during a lookup share its answer."""
        if fresh:
            return await self._look_up(name)
        try:
            return self._namespaces[name]
        except KeyError:
            pass
        lookup = self._lookups.get(name)
        if lookup is None:
            lookup = asyncio.create_task(self._look_up(name), name=f"namespace {name}")
            self._lookups[name] = lookup
            lookup.add_done_callback(lambda task: self._forget_lookup(name, task))
        return await asyncio.shield(lookup)  # one of several who wait may be cancelled

    async def namespaces(self) -> AsyncIterator[Namespace]:
        """Every namespace, as it is now."""
        documents = collection.every(self._kube, "/api/v1/namespaces", timeout_s=_LIST_TIMEOUT_S)
        async for document in documents:
            yield Namespace.of(document)

    async def uid_of(self, namespace: str, name: str) -> str | None:
        """See `Cluster`."""
        return (await self._read_pod(namespace, name)).uid

    async def pod(self, namespace: str, name: str) -> Pod | None:
        """The pod as it is now, None when there is none. Raises Unavailable."""
        try:
            return await self._read_pod(namespace, name)
        except errors.NotFound:
            return None

    def node_of(self, namespace: str, pod_uid: str) -> str | None:
        """The node of a pod that was seen here, even if it is gone; None: not seen lately."""
        node: str | None = self._nodes.get((namespace, pod_uid))
        return node

    async def _read_pod(self, namespace: str, name: str) -> Pod:
        path = f"{_pods_path(namespace)}/{_quote(name)}"
        try:
            _, document = await self._kube.request("GET", path, timeout_s=_TIMEOUT_S)
        except errors.Forbidden as error:
            raise errors.Unavailable(f"the server may not read pods: {error}") from error
        self._remember_node(namespace, document)
        return Pod.of(document)

    def _remember_node(self, namespace: str, document: Mapping[str, Any]) -> None:
        pod = Pod.of(document)
        for uid in pod.uids if pod.node else ():
            self._nodes[namespace, uid] = pod.node

    async def pod_uids(self, namespace: str) -> Mapping[str, str] | None:
        """See `Cluster`."""
        try:
            return self._uids[namespace]
        except KeyError:
            pass
        try:
            uids = await self._read_pod_uids(namespace)
        except errors.CoredumpdError:
            uids = None  # status.podExists is left out: unknown is not "no"
        self._uids[namespace] = uids
        return uids

    async def living_uids(self, namespace: str) -> set[str]:
        """Every uid by which a pod of the namespace goes now. Raises Forbidden, too."""
        uids: set[str] = set()
        path = _pods_path(namespace)
        async for document in collection.every(self._kube, path, timeout_s=_LIST_TIMEOUT_S):
            self._remember_node(namespace, document)
            uids |= pods.uids(document)
        return uids

    async def _read_pod_uids(self, namespace: str) -> Mapping[str, str] | None:
        pods_ = collection.every(self._kube, _pods_path(namespace), timeout_s=_TIMEOUT_S)
        return {pod["metadata"]["name"]: pod["metadata"]["uid"] async for pod in pods_}

    async def _look_up(self, name: str) -> Namespace | None:
        namespace: Namespace | None = None
        try:
            async with self._slots:
                _, document = await self._kube.request(
                    "GET", f"/api/v1/namespaces/{_quote(name)}", timeout_s=_TIMEOUT_S
                )
            namespace = Namespace.of(document)
        except errors.NotFound:
            pass
        except errors.Forbidden as error:
            raise errors.Unavailable(f"the server may not read namespaces: {error}") from error
        self._namespaces[name] = namespace
        return namespace

    def _forget_lookup(self, name: str, task: asyncio.Task[Namespace | None]) -> None:
        del self._lookups[name]
        if not task.cancelled():
            task.exception()  # seen here, in case that nobody waits for it any more


class NoCluster:
    """Without Kubernetes every namespace is there, and nothing is known about pods."""

    acts_on_finalizers = False

    async def namespace(self, name: str, *, fresh: bool = False) -> Namespace | None:  # noqa: ARG002
        """See `Cluster`."""
        return Namespace(name, uid=None, created_s=float("-inf"))

    async def uid_of(self, namespace: str, name: str) -> str | None:  # noqa: ARG002
        """See `Cluster`."""
        return None

    async def pod_uids(self, namespace: str) -> Mapping[str, str] | None:  # noqa: ARG002
        """See `Cluster`."""
        return None


def _pods_path(namespace: str) -> str:
    return f"/api/v1/namespaces/{_quote(namespace)}/pods"


def _quote(name: str) -> str:
    return urllib.parse.quote(name, safe="")
