"""Is a record of the node that sends it? What an agent says of a pod is compared with the API.

- The record's node is the token's.
- The namespace exists, and is the one in which the process crashed, by its uid.
- A pod that the API has is on that node; then the dump is proven, and gets the namespace's uid.
- A pod that is gone was on that node when this server last saw it, or when an earlier dump of it
  was proven; then the dump is proven, too.
- Of a gone pod that this server never saw, only the node's word is known: its dump is marked so, is
  the first to go for a quota, and no other dump goes for it.

Tested in: tests/integration/server/test_uploads.py
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Iterator
from typing import Protocol

from coredumpd import errors
from coredumpd.formats import annotations as rules
from coredumpd.formats import crash_loop, layout, names
from coredumpd.formats import record as records
from coredumpd.server import cluster as clusters
from coredumpd.server.uploads import senders

_DUMPS_READ_MAX = 20  # of a gone pod, until one tells its node


class Cluster(Protocol):
    """The part of `cluster.KubeCluster` that is needed here."""

    async def namespace(self, name: str, *, fresh: bool = False) -> clusters.Namespace | None: ...
    async def pod(self, namespace: str, name: str) -> clusters.Pod | None: ...
    def node_of(self, namespace: str, pod_uid: str) -> str | None: ...


class Store(Protocol):
    """The part of `store.interface.Store` that is needed here."""

    def list(self, prefix: layout.Prefix, /) -> Iterator[layout.DumpKey]: ...
    def read_record(self, key: layout.DumpKey) -> records.CrashRecord: ...


@dataclasses.dataclass(frozen=True)
class Origin:
    """A record as the server keeps it, and whether Kubernetes vouches for its pod."""

    record: records.CrashRecord
    namespace: clusters.Namespace | None  # None: the host's


class Origins:
    """Checks records. Belongs to one event loop."""

    def __init__(self, cluster: Cluster, store: Store) -> None:
        self._cluster = cluster
        self._store = store

    async def check(self, sender: senders.Sender, record: records.CrashRecord) -> Origin:
        """Raises Forbidden for a record of another node or of another node's pod; Invalid for one
        of a namespace that is gone; Unavailable while Kubernetes does not answer.
        """
        node = sender.node or record.node
        if record.node not in (None, node):
            raise errors.Forbidden.about(
                "node", f"the record is of node {record.node!r}, the token is bound to {node!r}"
            )
        record = crash_loop.without_ids(record.with_(node=node))
        if record.namespace == names.HOST_NAMESPACE:
            return Origin(record, None)
        namespace = await self._namespace_of(record)
        pod = await self._pod_of(record)
        if pod is not None and node is None:
            node = pod.node
            record = record.with_(node=node)
        home = pod.node if pod is not None else await self._former_node(record)
        if home is not None and home != node:
            raise errors.Forbidden.about(
                "podUID",
                f"pod {record.namespace}/{record.pod_name} is on {home!r}, not on {node!r}",
            )
        if home is None:
            return Origin(_unproven(record), namespace)
        record = record.with_(namespaceUID=namespace.uid).with_capture(attribution="api")
        if pod is not None:
            record = records.pinned(record, rules.keeps(pod.annotations))
        return Origin(record, namespace)

    async def _namespace_of(self, record: records.CrashRecord) -> clusters.Namespace:
        """The namespace in which it crashed. A remembered answer may be of a former one."""
        name, uid = record.namespace or "", record.namespace_uid
        namespace = await self._cluster.namespace(name)
        if namespace is None or uid not in (None, namespace.uid):
            namespace = await self._cluster.namespace(name, fresh=True)
        if namespace is None:
            raise errors.Invalid.about("namespace", f"there is no namespace {name!r}")
        if uid not in (None, namespace.uid):
            raise errors.Invalid.about(
                "namespaceUID", f"the namespace {name!r} with uid {uid!r} is gone"
            )
        return namespace

    async def _pod_of(self, record: records.CrashRecord) -> clusters.Pod | None:
        if not record.pod_name or not names.is_dns_subdomain(record.pod_name):
            return None
        pod = await self._cluster.pod(record.namespace or "", record.pod_name)
        return pod if pod is not None and record.pod_uid in pod.uids else None

    async def _former_node(self, record: records.CrashRecord) -> str | None:
        """Where a gone pod was; None if nobody but the sender says so."""
        key = record.key()
        node = self._cluster.node_of(key.namespace, key.pod_uid)
        return node or await asyncio.to_thread(self._node_in_store, key)

    def _node_in_store(self, key: layout.DumpKey) -> str | None:
        """The node of a proven dump of the same pod."""
        keys = self._store.list(layout.Prefix(key.namespace, key.pod_uid))
        for _, other in zip(range(_DUMPS_READ_MAX), keys, strict=False):
            try:
                record = self._store.read_record(other)
            except (errors.NotFound, errors.BadRecord):
                continue
            if record.attribution == "api" and record.node:
                return record.node
        return None


def _unproven(record: records.CrashRecord) -> records.CrashRecord:
    return records.pinned(record, False).with_capture(attribution=records.UNPROVEN)
