"""Which node sends a dump: a token of the agents' account is bound to the pod of one agent.

kube-apiserver signs the binding into the token and TokenReview returns it in `extra`: from 1.30 on
the node's name, before that the pod's name and uid, whose node is asked for. A token without a
binding (a Secret's, a person's) may come from any machine.

Sources: k8s.io/kubernetes pkg/serviceaccount/util.go (keys), KEP-4193 (node).

Tested in: tests/integration/server/test_uploads.py
"""

from __future__ import annotations

import dataclasses
from typing import Protocol

from coredumpd import cache, errors
from coredumpd.apiserver.auth import interface
from coredumpd.server import cluster as clusters

_EXTRA = "authentication.kubernetes.io/"
NODE_NAME, POD_NAME, POD_UID = (f"{_EXTRA}{key}" for key in ("node-name", "pod-name", "pod-uid"))
_PODS_MAX = 10_000  # agents' pods whose node is remembered: it never changes


class Pods(Protocol):
    """The part of `cluster.KubeCluster` that is needed here."""

    async def pod(self, namespace: str, name: str) -> clusters.Pod | None: ...


@dataclasses.dataclass(frozen=True)
class Sender:
    """`node` None: the token is bound to no node, and the settings allow that."""

    node: str | None

    @property
    def place(self) -> str:
        """The holder of the share it takes places from; unbound tokens have one share together."""
        return self.node or ""


class Senders:
    """Finds out from which node a caller sends. Belongs to one event loop."""

    def __init__(self, pods: Pods, account: str, *, unbound: bool) -> None:
        """`account`: the only one that may send; `unbound`: may a token without a node?"""
        self._pods = pods
        self.account = account
        self._namespace = account.split(":")[2]
        self._unbound = unbound
        self._nodes = cache.recent(_PODS_MAX)  # by the uid of an agent's pod

    async def of(self, caller: interface.Caller | None) -> Sender:
        """Raises Forbidden for whoever is no agent; Unavailable while its pod cannot be asked."""
        if caller is None or caller.user != self.account:
            user = caller.user if caller else "nobody"
            raise errors.Forbidden(f"{user} may not send dumps: only {self.account} may")
        extra = dict(caller.extra)
        node, pod, uid = (_only(extra.get(key)) for key in (NODE_NAME, POD_NAME, POD_UID))
        if node:
            return Sender(node)
        if pod and uid:
            return Sender(await self._node_of(pod, uid))
        if self._unbound:
            return Sender(None)
        raise errors.Forbidden(
            f"the token of {self.account} is bound to no pod, so it proves no node; agents need a "
            "projected token (or server.uploadUnboundTokens)"
        )

    async def _node_of(self, name: str, uid: str) -> str:
        node: str | None = self._nodes.get(uid)
        if node is None:
            pod = await self._pods.pod(self._namespace, name)
            if pod is None or pod.uid != uid or not pod.node:
                raise errors.Forbidden(f"the token's pod {self._namespace}/{name} is on no node")
            node = self._nodes[uid] = pod.node
        return node


def _only(values: tuple[str, ...] | None) -> str:
    """The value of a key that has exactly one."""
    return values[0] if values is not None and len(values) == 1 else ""
