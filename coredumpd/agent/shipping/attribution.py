"""Attributes a crash to a pod and to the life of its namespace, by evidence that no tenant writes.

The handler has recorded what the cgroup and the runtime's state file say. The API adds the pod's
labels, owner and restarts, translates a static pod's uid, and names the pod of a record that has
only a cgroup. The namespace's uid comes, in this order, from

- a pod that the API has, and the namespace read after it (`tenants/lives`);
- what the agent, or the one before it, saw while the pod was there; the handler writes that, too.

A pod that is gone, and that no agent ever saw, may have disabled captures for itself: its dumps
stay on the node. Without other evidence it is not known whose rules hold. Then the dump goes to
`_host`, which only cluster-wide roles see, if nobody's rules can be broken; else it stays here.
"""

from __future__ import annotations

import logging
import time
import urllib.parse
from collections.abc import Iterable
from typing import Any, Protocol

from coredumpd import errors
from coredumpd.agent.shipping import pod_facts
from coredumpd.agent.tenants import lives
from coredumpd.formats import names
from coredumpd.formats import record as records
from coredumpd.kube import api, collection

_log = logging.getLogger(__name__)
CONFIRM_TIMEOUT_S = 3.0  # an API that is down may delay a dump by this, once


class Tenants(Protocol):
    """The namespaces and pods that the agent has seen; `tenants.Watcher` is one."""

    def life_of(self, record: records.CrashRecord) -> str | None:
        """The uid of the namespace of the record's pod. Raises BadRecord for a contradiction."""

    def note_pod(self, document: dict[str, Any]) -> None:
        """Take a pod of this node as the API shows it."""

    def is_free(self) -> bool:
        """Is it certain that no namespace seals and nobody opts out?"""


class NamespaceGoneError(Exception):
    """The namespace in which it crashed is gone, whoever has its name now."""


class Attributor:
    """Completes records by the API; without it (`kube` None) it only places the unnamed ones."""

    def __init__(
        self,
        kube: api.Requests | None,
        node: str | None,
        tenants: Tenants | None = None,
        *,
        unnamed_patience_s: float = 120.0,
    ) -> None:
        """`unnamed_patience_s`: how long an unnamed record waits for its pod to appear."""
        self._kube = kube
        self._node = node
        self._tenants = tenants
        self._unnamed_patience_s = unnamed_patience_s
        self._unnamed_since_s: dict[str, float] = {}

    async def attribute(self, record: records.CrashRecord) -> records.CrashRecord:
        """The record completed from its pod, with the uid of its namespace.

        Raises NamespaceGoneError; BadRecord for a record that contradicts the API; CannotAttribute
        for one that stays on the node; Unavailable when a later try may succeed.
        """
        if record.namespace == names.HOST_NAMESPACE:
            return record
        if self._kube is None:
            return record if record.namespace else pod_facts.unnamed(record, self._node)
        if record.namespace and record.pod_name:
            return await self._confirmed(self._kube, record)
        is_here = False
        for pod in await self._pods_of_node(self._kube):
            is_here = is_here or pod["metadata"]["uid"] == record.pod_uid
            completed = pod_facts.named(record, pod, self._node)
            if completed is not None:
                self._unnamed_since_s.pop(record.id, None)
                return await self._in_namespace(self._kube, completed, pod)
        return self._patiently_unnamed(record, is_here)

    async def _confirmed(
        self, kube: api.Requests, record: records.CrashRecord
    ) -> records.CrashRecord:
        """A record with the runtime's names. With a proven namespace it is never delayed."""
        life = self._life_of(record)
        try:
            pod = await self._pod(kube, record.namespace or "", record.pod_name or "")
        except errors.NotFound:
            pod = None  # deleted meanwhile; the names from the node stand
        except errors.CoredumpdError as error:
            return _unconfirmed(record, life, error)
        if pod is not None and not pod_facts.is_crashed(record, pod):
            pod = None  # another pod has the name now; the crashed one is gone
        if pod is not None:
            record = pod_facts.confirmed(record, pod, self._node)
        return await self._in_namespace(kube, record, pod, life)

    def _life_of(self, record: records.CrashRecord) -> str | None:
        """The namespace's uid by what was seen. Raises BadRecord where the record contradicts it.

        That of the handler is the same evidence: it had it from an agent.
        """
        life = None if self._tenants is None else self._tenants.life_of(record)
        if life is not None and record.namespace_uid not in (None, life):
            text = f"the record says namespace {record.namespace_uid}, but its pod is in {life}"
            raise errors.BadRecord(text)
        return life or record.namespace_uid

    async def _in_namespace(
        self,
        kube: api.Requests,
        record: records.CrashRecord,
        pod: dict[str, Any] | None,
        life: str | None = None,
    ) -> records.CrashRecord:
        """Add the namespace's uid, which is asked for after the pod was."""
        path = f"/api/v1/namespaces/{_quoted(record.namespace or '')}"
        try:
            _, namespace = await kube.request("GET", path, timeout_s=CONFIRM_TIMEOUT_S)
        except errors.NotFound as error:
            raise NamespaceGoneError from error
        except errors.CoredumpdError as error:
            return _unconfirmed(record, life, error)
        uid = namespace["metadata"]["uid"]
        if pod is not None and self._tenants is not None:
            self._tenants.note_pod(pod)
        if pod is not None and lives.is_of(namespace, lives.created_s(pod) or 0.0):
            if life not in (None, uid):
                text = f"the record says namespace {life}, but its pod is in {uid}"
                raise errors.BadRecord(text)
            life = uid
        if life is None and pod is None:
            raise _unseen(record)
        if life is None:
            return self._unproven(record, "nothing proves in which life of its namespace it was")
        if life != uid:
            raise NamespaceGoneError
        return record.with_(namespaceUID=life)

    def _patiently_unnamed(self, record: records.CrashRecord, is_here: bool) -> records.CrashRecord:
        """A container that died young is in no status until the kubelet reports it.

        `is_here`: its pod is on this node, so that it is known whether it has disabled captures.
        """
        now_s = time.monotonic()
        since_s = self._unnamed_since_s.setdefault(record.id, now_s)
        if now_s - since_s < self._unnamed_patience_s:
            text = f"{record.id}: no container of pod {record.pod_uid} on this node yet"
            raise errors.Unavailable(text)
        if not is_here:
            raise _unseen(record)
        placed = self._unproven(record, f"no container of pod {record.pod_uid} is known")
        self._unnamed_since_s.pop(record.id)
        return placed

    def _unproven(self, record: records.CrashRecord, why: str) -> records.CrashRecord:
        """`record` for `_host`. Raises CannotAttribute while somebody's rules may forbid that."""
        if self._tenants is None or not self._tenants.is_free():
            rule = "a namespace or a pod may forbid that its dump leaves the node in the clear"
            raise errors.CannotAttribute(f"{record.id}: {why}; {rule}")
        _log.warning("%s goes to _host: %s", record.id, why)
        return pod_facts.unnamed(record, self._node)

    async def _pod(self, kube: api.Requests, namespace: str, name: str) -> dict[str, Any]:
        path = f"/api/v1/namespaces/{_quoted(namespace)}/pods/{_quoted(name)}"
        _, pod = await kube.request("GET", path, timeout_s=CONFIRM_TIMEOUT_S)
        return dict(pod)

    async def _pods_of_node(self, kube: api.Requests) -> Iterable[dict[str, Any]]:
        query = {"fieldSelector": f"spec.nodeName={self._node}"}
        return [pod async for pod in collection.every(kube, "/api/v1/pods", query)]


def _unconfirmed(
    record: records.CrashRecord, life: str | None, error: errors.CoredumpdError
) -> records.CrashRecord:
    """The record without the API's word, if its namespace is proven already."""
    if life is None:
        text = f"not known yet in which namespace {record.id} was: {error}"
        raise errors.Unavailable(text) from error
    _log.warning("%s is shipped unconfirmed: %s", record.id, error)
    return record.with_(namespaceUID=life)


def _unseen(record: records.CrashRecord) -> errors.CannotAttribute:
    rule = "it may have disabled captures for itself"
    return errors.CannotAttribute(
        f"{record.id}: pod {record.pod_uid} is gone, and was never seen here; {rule}"
    )


def _quoted(name: str) -> str:
    return urllib.parse.quote(name, safe="")
