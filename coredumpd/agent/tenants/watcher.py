"""Keeps the handler's snapshot of namespaces' and pods' rules in step with Kubernetes.

It watches the namespaces of the cluster and the pods of this node, and writes those whose rules
differ from the cluster's settings to the snapshot. While the API is away the last snapshot holds.

Tested in: tests/integration/agent/test_tenants.py
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from coredumpd import aiokit, errors
from coredumpd.agent import events
from coredumpd.agent.tenants import policy_file, rules
from coredumpd.formats import annotations as dump_annotations
from coredumpd.formats import event_reasons, names, policy, quota_notice
from coredumpd.formats import record as records
from coredumpd.kube import api, collection, pods
from coredumpd.settings import sections

SETTLE_S = 0.2  # many pods change at once when a node starts
NAMESPACES, PODS, QUOTAS = "namespaces", "pods", "quotas"
PROBLEMS_MAX = 1000
_NO_ANNOTATIONS: Mapping[str, str] = {}  # one for the thousands of namespaces that have none
_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Scope:
    """Where to watch and write. `own_namespace`: of the server's ConfigMap of reached quotas."""

    node: str
    host_dir: Path
    own_namespace: str | None = None


class Watcher:
    """Writes the snapshot after each change, and Events about problems of pods' annotations."""

    def __init__(
        self,
        kube: api.Api,
        policy: sections.PolicySettings,
        scope: Scope,
        event_writer: events.Events,
    ) -> None:
        self._kube = kube
        self._policy = policy
        self._scope = scope
        self._events = event_writer
        self._collections: dict[str, dict[str, Any]] = {}  # each of them, once it was listed
        self._announced: set[tuple[str, str]] = set()
        self._logged: set[tuple[str, str]] = set()
        self._problems: asyncio.Queue[tuple[rules.Pod, str]] = asyncio.Queue(PROBLEMS_MAX)
        self._changed = asyncio.Event()
        self.tenants = policy_file.read_tenants(scope.host_dir)

    async def run(self) -> None:
        """Watch for ever. A watch that fails is logged and tried again."""
        own_pods = {"fieldSelector": f"spec.nodeName={self._scope.node}"}
        async with asyncio.TaskGroup() as jobs:
            jobs.create_task(self._follow(NAMESPACES, "/api/v1/namespaces", {}, _namespace))
            jobs.create_task(self._follow(PODS, "/api/v1/pods", own_pods, _pod))
            if self._scope.own_namespace is not None:
                path = f"/api/v1/namespaces/{self._scope.own_namespace}/configmaps"
                notice = {"fieldSelector": f"metadata.name={quota_notice.CONFIG_MAP}"}
                jobs.create_task(self._follow(QUOTAS, path, notice, _reached))
            jobs.create_task(self._write())
            jobs.create_task(self._announce())

    def refuses(self, record: records.CrashRecord) -> bool:
        """Must this dump be removed? The handler may have captured it under an older snapshot."""
        uid, namespace = record.pod_uid or "", record.namespace or ""
        if namespace == names.HOST_NAMESPACE:
            return False
        exception = self.tenants.pods.get(uid) or self.tenants.namespaces.get(namespace) or {}
        return bool(exception.get("capture", self._policy.capture) == "disabled")

    def annotations_of(self, namespace: str) -> Mapping[str, str] | None:
        """A namespace's annotations; None for one that the watch has not shown."""
        return self._collections.get(NAMESPACES, {}).get(namespace)

    async def _follow(
        self,
        name: str,
        path: str,
        query: dict[str, str],
        read: Callable[[dict[str, Any]], tuple[str, Any]],
    ) -> None:
        """Keep `_collections[name]`: `read` gives each object's key and value."""
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
                self._changed.set()

    async def _write(self) -> None:
        default = dump_annotations.Rules(self._policy.capture == "enabled", self._policy.maxSize)
        while True:
            await self._changed.wait()
            await asyncio.sleep(SETTLE_S)
            self._changed.clear()
            if not {NAMESPACES, PODS} <= set(self._collections):
                continue  # half of the rules must not replace the last agent's
            namespaces = self._collections[NAMESPACES]
            tenants, problems = rules.decide(
                default,
                {name: own for name, own in namespaces.items() if own},
                list(self._collections[PODS].values()),
                self._reached(),
            )
            encrypt_to = rules.sealed_to(self.tenants.encryptTo, namespaces)
            self.tenants = policy.Tenants(tenants.namespaces, tenants.pods, encrypt_to)
            snapshot = (self._scope.host_dir, self._policy, self._scope.node, self.tenants)
            try:
                await aiokit.call(policy_file.write, *snapshot)
            except errors.CoredumpdError as error:
                _log.error("the handler obeys an old policy: %s", error)
            self._queue(problems)
            self._log_namespaces(default)

    def _reached(self) -> Iterable[str]:
        """Namespaces whose quota is reached; the last snapshot's until the notice is read."""
        if QUOTAS in self._collections:
            return frozenset[str]().union(*self._collections[QUOTAS].values())
        last = self.tenants.namespaces
        return [name for name, rules in last.items() if rules.get("quotaReached")]

    def _queue(self, problems: list[tuple[rules.Pod, str]]) -> None:
        """Announce each problem once, and again if it went away and came back."""
        for pod, problem in problems:
            if (pod.uid, problem) not in self._announced and not self._problems.full():
                self._announced.add((pod.uid, problem))
                self._problems.put_nowait((pod, problem))
        self._announced &= {(pod.uid, problem) for pod, problem in problems}

    def _log_namespaces(self, default: dump_annotations.Rules) -> None:
        """Only a log line: every node would send the same Event."""
        problems = {
            (name, problem)
            for name, own in self._collections[NAMESPACES].items()
            for problem in dump_annotations.of_namespace(own, default)[1]
        }
        for name, problem in sorted(problems - self._logged):
            _log.warning("namespace %s: %s", name, problem)
        self._logged = problems

    async def _announce(self) -> None:
        while True:
            pod, problem = await self._problems.get()
            _log.warning("pod %s/%s: %s", pod.namespace, pod.name, problem)
            await self._events.pod(pod.namespace, pod.name, pod.uid, event_reasons.POLICY, problem)


def _namespace(document: dict[str, Any]) -> tuple[str, Any]:
    return document["metadata"]["name"], dump_annotations.ours(
        document["metadata"]
    ) or _NO_ANNOTATIONS


def _reached(document: dict[str, Any]) -> tuple[str, Any]:
    return document["metadata"]["name"], quota_notice.reached(document)


def _pod(document: dict[str, Any]) -> tuple[str, Any]:
    meta = document["metadata"]
    uids = frozenset(pods.uids(document))
    own = dump_annotations.ours(meta)
    return meta["uid"], rules.Pod(meta["namespace"], meta["name"], meta["uid"], uids, own)
