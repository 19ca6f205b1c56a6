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
from coredumpd.agent import events, metrics
from coredumpd.agent.tenants import lives, policy_file, rules
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
class Namespace:
    """One namespace: its uid and the annotations that are meant for us."""

    uid: str
    annotations: Mapping[str, str]


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
        counters: metrics.Metrics,
    ) -> None:
        self._kube = kube
        self._policy = policy
        self._scope = scope
        self._events = event_writer
        self._metrics = counters
        self._collections: dict[str, dict[str, Any]] = {}  # each of them, once it was listed
        self._announced: set[tuple[str, str]] = set()
        self._logged: set[tuple[str, str]] = set()
        self._problems: asyncio.Queue[tuple[rules.Pod, str]] = asyncio.Queue(PROBLEMS_MAX)
        self._changed = asyncio.Event()
        self._denied: object = None
        self._default = dump_annotations.Rules(policy.capture == "enabled", policy.maxSize)
        self.tenants = policy_file.read_tenants(scope.host_dir)
        self._sealed_to = self.tenants.encryptTo
        self._lives = lives.Lives(kube, self.tenants)

    async def run(self) -> None:
        """Watch for ever. A watch that fails is logged and tried again."""
        own_pods = {"fieldSelector": f"spec.nodeName={self._scope.node}"}
        async with asyncio.TaskGroup() as jobs:
            jobs.create_task(self._follow(NAMESPACES, "/api/v1/namespaces", {}, _namespace))
            jobs.create_task(self._follow(PODS, "/api/v1/pods", own_pods, self._pod))
            jobs.create_task(self._lives.learn(self._pods, self._changed.set))
            if self._scope.own_namespace is not None:
                path = f"/api/v1/namespaces/{self._scope.own_namespace}/configmaps"
                notice = {"fieldSelector": f"metadata.name={quota_notice.CONFIG_MAP}"}
                jobs.create_task(self._follow(QUOTAS, path, notice, _reached))
            jobs.create_task(self._write())
            jobs.create_task(self._announce())

    def refuses(self, record: records.CrashRecord) -> bool:
        """Must this dump be removed? The handler may have captured it under an older snapshot.

        Raises Unavailable while that is not known: Kubernetes has never been asked.
        """
        namespace = record.namespace or ""
        if namespace == names.HOST_NAMESPACE:
            return False
        if self.tenants.encryptTo is None:
            text = f"not known yet whether dumps of namespace {namespace} may be kept"
            raise errors.Unavailable(text)
        # By this very pod's key: what another pod says of itself changes nothing here.
        exception = self.tenants.pods.get(self._key(record)) or self.tenants.namespaces.get(
            namespace
        )
        if exception is None and self.tenants.unlisted == "disabled":
            return self._key(record) not in self.tenants.identities
        return bool((exception or {}).get("capture", self._policy.capture) == "disabled")

    def _key(self, record: records.CrashRecord) -> str:
        names_ = (record.namespace, record.pod_name)
        return policy.key_of(self.tenants.identities, record.pod_uid or "", *names_)

    def is_free(self) -> bool:
        """See `rules.is_free`."""
        return rules.is_free(self._default, self.tenants)

    def life_of(self, record: records.CrashRecord) -> str | None:
        """See `lives.Lives.of_record`."""
        return self._lives.of_record(record)

    def annotations_of(self, namespace: str, uid: str | None) -> Mapping[str, str] | None:
        """The annotations of the namespace with this uid; None for one the watch has not shown."""
        watched = self._collections.get(NAMESPACES, {}).get(namespace)
        return watched.annotations if watched is not None and watched.uid == uid else None

    def sealed_before(self, namespace: str, uid: str | None) -> str | None:
        """The last snapshot's `encrypt-to` of the namespace with this uid; None: nothing.

        Raises Unavailable if that snapshot does not know the namespace.
        """
        listed = any(
            own.get("namespace") == namespace and own.get("namespaceUID") == uid
            for own in self.tenants.identities.values()
        )
        before = self.tenants.encryptTo
        if before is None or uid is None or not (listed or namespace in before):
            text = f"not known yet whether namespace {namespace} wants its dumps encrypted"
            raise errors.Unavailable(text)
        return before.get(namespace)

    def _pods(self) -> list[rules.Pod]:
        pods_: Iterable[rules.Pod | None] = self._collections.get(PODS, {}).values()
        return [pod for pod in pods_ if pod is not None]

    def _pod(self, document: dict[str, Any]) -> tuple[str, rules.Pod | None]:
        """None for a pod of another node: a server that ignores the selector must not matter."""
        meta = document["metadata"]
        if (document.get("spec") or {}).get("nodeName") != self._scope.node:
            return meta["uid"], None
        since_s = lives.created_s(document) or 0.0
        facts = (meta["namespace"], meta["name"], meta["uid"], pods.static_uid(document))
        return meta["uid"], rules.Pod(*facts, dump_annotations.ours(meta), since_s)

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
                if name == PODS:
                    self._lives.wake.set()

    async def _write(self) -> None:
        while True:
            await self._changed.wait()
            await asyncio.sleep(SETTLE_S)
            self._changed.clear()
            if not {NAMESPACES, PODS} <= set(self._collections):
                continue  # half of the rules must not replace the last agent's
            annotations = {
                name: own.annotations for name, own in self._collections[NAMESPACES].items()
            }
            own_pods = self._pods()
            decision = rules.decide(
                self._default,
                {name: own for name, own in annotations.items() if own},
                own_pods,
                self._reached(),
                self._lives.of_pods(own_pods),
            )
            here = {pod.namespace for pod in own_pods}
            self.tenants = decision.tenants
            self.tenants.encryptTo = rules.sealed_to(self._sealed_to, annotations, here)
            self._sealed_to = self.tenants.encryptTo
            snapshot = (self._scope.host_dir, self._policy, self._scope.node, self.tenants)
            try:
                await aiokit.call(policy_file.write, *snapshot)
            except errors.CoredumpdError as error:
                _log.error("the handler obeys an old policy: %s", error)
            self._queue(decision.problems)
            self._log_namespaces(self._default)
            await self._report_denied(decision)

    async def _report_denied(self, decision: rules.Decision) -> None:
        """Log, and write an Event on the Node, when who has no room changes."""
        denied = (decision.denied_pods, decision.denied_namespaces)
        self._metrics.denied.set(sum(denied))
        if denied != self._denied and any(denied):
            text = (
                f"{denied[0]} pods and the rules of {denied[1]} namespaces have no room in the"
                " policy: their crashes are not captured"
            )
            _log.error("%s", text)
            await self._events.node(event_reasons.POLICY, text)
        self._denied = denied

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
            for problem in dump_annotations.of_namespace(own.annotations, default)[1]
        }
        for name, problem in sorted(problems - self._logged)[:PROBLEMS_MAX]:
            _log.warning("namespace %s: %s", name, problem)
        self._logged = problems

    async def _announce(self) -> None:
        while True:
            pod, problem = await self._problems.get()
            _log.warning("pod %s/%s: %s", pod.namespace, pod.name, problem)
            await self._events.pod(pod.namespace, pod.name, pod.uid, event_reasons.POLICY, problem)


def _namespace(document: dict[str, Any]) -> tuple[str, Any]:
    meta = document["metadata"]
    own = dump_annotations.ours(meta) or _NO_ANNOTATIONS
    return meta["name"], Namespace(str(meta["uid"]), own)


def _reached(document: dict[str, Any]) -> tuple[str, Any]:
    listed = sorted(filter(names.is_dns_label, quota_notice.reached(document)))
    return document["metadata"]["name"], frozenset(listed[: rules.NAMESPACES_MAX])
