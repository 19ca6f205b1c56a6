"""In which life of its namespace each pod of this node is: a name may be used again, a uid never.

A pod that was seen in a namespace is of the namespace that is there afterwards, unless that one is
younger than the pod. Both times are the API's. So the namespace is asked for after the pod was
seen, and the answer stays true for ever; gone pods are remembered for dumps that still wait.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import urllib.parse
from collections.abc import Callable, Iterable, Mapping, MutableMapping
from typing import Any

from coredumpd import cache, errors, units
from coredumpd.agent.tenants import rules
from coredumpd.formats import policy
from coredumpd.formats import record as records
from coredumpd.kube import api

LIVES_MAX = 10_000  # pods, of which most are gone
RETRY_S = 5.0
TIMEOUT_S = 3.0
_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Life:
    """Where a pod was. `uid`: of the namespace."""

    namespace: str
    uid: str


class Lives:
    """By a pod's key. Belongs to one event loop."""

    def __init__(self, kube: api.Requests, last: policy.Tenants) -> None:
        """`last`: what the last agent knew."""
        self._kube = kube
        self._lives: MutableMapping[str, Life] = cache.recent(LIVES_MAX)
        for key, own in last.identities.items():
            if own.get("namespaceUID"):
                self._lives[key] = Life(str(own.get("namespace")), str(own["namespaceUID"]))
        self.wake = asyncio.Event()

    async def learn(
        self, pods: Callable[[], Iterable[rules.Pod]], on_change: Callable[[], None]
    ) -> None:
        """Ask for the namespaces of new pods whenever `wake` is set. Never returns."""
        while True:
            await self.wake.wait()
            self.wake.clear()
            pending = [pod for pod in pods() if pod.uid not in self._lives]
            for name in sorted({pod.namespace for pod in pending}):
                try:
                    document = await self._namespace(name)
                except errors.NotFound:
                    continue  # its pods are about to go
                except errors.CoredumpdError as error:
                    _log.warning("the uid of namespace %s is not known yet: %s", name, error)
                    await asyncio.sleep(RETRY_S)
                    self.wake.set()
                    break
                own = [pod for pod in pending if pod.namespace == name]
                if self._note(document, own):
                    on_change()

    async def _namespace(self, name: str) -> dict[str, Any]:
        path = f"/api/v1/namespaces/{urllib.parse.quote(name, safe='')}"
        _, document = await self._kube.request("GET", path, timeout_s=TIMEOUT_S)
        return dict(document)

    def _note(self, namespace: Mapping[str, Any], pods: Iterable[rules.Pod]) -> bool:
        name, uid = namespace["metadata"]["name"], namespace["metadata"]["uid"]
        proven = [pod for pod in pods if is_of(namespace, pod.created_s)]
        for pod in proven:
            self._lives.update(dict.fromkeys(pod.keys(), Life(name, uid)))
        return bool(proven)

    def of_pods(self, pods: Iterable[rules.Pod]) -> dict[str, str]:
        """The namespaces' uids, by the uid of the pod; none of a pod that is not proven yet."""
        return {pod.uid: life.uid for pod in pods if (life := self._lives.get(pod.uid))}

    def of_record(self, record: records.CrashRecord) -> str | None:
        """The uid of the namespace in which the record's pod was; None if it was never seen.

        Raises BadRecord if that pod was in another namespace than the record says.
        """
        namespace, uid = record.namespace, record.pod_uid or ""
        life = self._lives.get(uid)
        if life is None and namespace and record.pod_name:
            life = self._lives.get(policy.static_key(namespace, record.pod_name, uid))
        if life is not None and namespace is not None and life.namespace != namespace:
            raise errors.BadRecord(
                f"the record says namespace {namespace}, but pod {uid} is in {life.namespace}"
            )
        return None if life is None else life.uid


def is_of(namespace: Mapping[str, Any], pod_created_s: float) -> bool:
    """Is a pod, seen before `namespace` was read, in this life of the namespace? Pure."""
    since_s = created_s(namespace)
    return since_s is not None and since_s <= pod_created_s


def created_s(document: Mapping[str, Any]) -> float | None:
    """When an object was created, by the API's clock, in seconds since the epoch."""
    try:
        return units.parse_timestamp(document["metadata"].get("creationTimestamp"))
    except ValueError:
        return None
