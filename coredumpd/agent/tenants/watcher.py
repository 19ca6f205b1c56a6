"""What namespaces and pods say about their dumps, kept in step with Kubernetes for the handler.

The namespaces of the cluster and the pods of this node are watched; whatever differs from the
cluster's settings goes into the snapshot. While the API is away the last snapshot stands.
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
from coredumpd.formats import annotations as annotated
from coredumpd.formats import names, quota_notice
from coredumpd.formats import record as records
from coredumpd.kube import api as apis
from coredumpd.kube import collection
from coredumpd.kube import pods as kube_pods
from coredumpd.settings import sections

SETTLE_S = 0.2  # many pods change at once when a node starts
NAMESPACES, PODS, QUOTAS = "namespaces", "pods", "quotas"
UNTOLD_MAX = 1000
_NOTHING: Mapping[str, str] = {}  # one for the thousands of namespaces that say nothing
_log = logging.getLogger(__name__)


class Watcher:
    """Writes the snapshot whenever something changes, and tells pods what is wrong with theirs."""

    def __init__(
        self,
        api: apis.Api,
        policy: sections.PolicySettings,
        node: str,
        host_dir: Path,
        teller: events.Events,
        own_namespace: str | None = None,
    ) -> None:
        """`own_namespace`: where the server says which quotas are reached; None: nowhere."""
        self._api = api
        self._policy = policy
        self._node = node
        self._host_dir = host_dir
        self._events = teller
        self._own_namespace = own_namespace
        self._known: dict[str, dict[str, Any]] = {}  # of each collection, once it was listed
        self._told: set[tuple[str, str]] = set()
        self._logged: set[tuple[str, str]] = set()
        self._untold: asyncio.Queue[tuple[rules.Pod, str]] = asyncio.Queue(UNTOLD_MAX)
        self._changed = asyncio.Event()
        self.tenants = policy_file.read_tenants(host_dir)

    async def run(self) -> None:
        """For ever. What cannot be followed is logged and tried again."""
        mine = {"fieldSelector": f"spec.nodeName={self._node}"}
        async with asyncio.TaskGroup() as jobs:
            jobs.create_task(self._follow(NAMESPACES, "/api/v1/namespaces", {}, _namespace))
            jobs.create_task(self._follow(PODS, "/api/v1/pods", mine, _pod))
            if self._own_namespace is not None:
                where = f"/api/v1/namespaces/{self._own_namespace}/configmaps"
                only = {"fieldSelector": f"metadata.name={quota_notice.CONFIG_MAP}"}
                jobs.create_task(self._follow(QUOTAS, where, only, _reached))
            jobs.create_task(self._write())
            jobs.create_task(self._tell())

    def refuses(self, crash: records.CrashRecord) -> bool:
        """Must this crash not leave the node? The handler may have known less than we do."""
        uid, namespace = crash.raw["podUID"] or "", crash.raw["namespace"] or ""
        if namespace == names.HOST_NAMESPACE:
            return False
        rules = self.tenants.pods.get(uid) or self.tenants.namespaces.get(namespace) or {}
        return bool(rules.get("capture", self._policy.capture) == "disabled")

    def said_by(self, namespace: str) -> Mapping[str, str] | None:
        """What a namespace says as of now; None for one of which we have no news."""
        return self._known.get(NAMESPACES, {}).get(namespace)

    async def _follow(
        self,
        what: str,
        path: str,
        query: dict[str, str],
        read: Callable[[dict[str, Any]], tuple[str, Any]],
    ) -> None:
        """Keep `_known[what]`: what `read` makes of each object, by its key."""
        found: dict[str, Any] = {}
        listing = True
        async for kind, item in collection.follow(self._api, path, query):
            if kind == collection.LISTING:
                found, listing = {}, True
            elif kind == collection.LISTED:
                listing = False
            else:
                key, value = read(item)
                if kind == "DELETED":
                    found.pop(key, None)
                else:
                    found[key] = value
            if not listing:
                self._known[what] = found
                self._changed.set()

    async def _write(self) -> None:
        default = annotated.Capture(self._policy.capture == "enabled", self._policy.maxSize)
        while True:
            await self._changed.wait()
            await asyncio.sleep(SETTLE_S)
            self._changed.clear()
            if not {NAMESPACES, PODS} <= set(self._known):
                continue  # half of what there is must not replace what the last agent knew
            there = self._known[NAMESPACES]
            found, wrong = rules.decide(
                default,
                {name: said for name, said in there.items() if said},
                list(self._known[PODS].values()),
                self._reached(),
            )
            encrypt_to = rules.sealed_to(self.tenants.encryptTo, there)
            self.tenants = dataclasses.replace(found, encryptTo=encrypt_to)
            where = (self._host_dir, self._policy, self._node, self.tenants)
            try:
                await aiokit.call(policy_file.write, *where)
            except errors.CoredumpdError as error:
                _log.error("the handler obeys an old policy: %s", error)
            self._complain(wrong)
            self._log_namespaces(default)

    def _reached(self) -> Iterable[str]:
        """Namespaces whose quota is reached; as the last snapshot has it until it is known."""
        if QUOTAS in self._known:
            return frozenset[str]().union(*self._known[QUOTAS].values())
        last = self.tenants.namespaces
        return [name for name, rules in last.items() if rules.get("quotaReached")]

    def _complain(self, wrong: list[tuple[rules.Pod, str]]) -> None:
        """Once about each, and again when it went and came back."""
        for pod, problem in wrong:
            if (pod.uid, problem) not in self._told and not self._untold.full():
                self._told.add((pod.uid, problem))
                self._untold.put_nowait((pod, problem))
        self._told &= {(pod.uid, problem) for pod, problem in wrong}

    def _log_namespaces(self, default: annotated.Capture) -> None:
        """Only a log line: every node would send the same Event."""
        wrong = {
            (name, problem)
            for name, said in self._known[NAMESPACES].items()
            for problem in annotated.of_namespace(said, default)[1]
        }
        for name, problem in sorted(wrong - self._logged):
            _log.warning("namespace %s: %s", name, problem)
        self._logged = wrong

    async def _tell(self) -> None:
        while True:
            pod, problem = await self._untold.get()
            _log.warning("pod %s/%s: %s", pod.namespace, pod.name, problem)
            await self._events.pod(pod.namespace, pod.name, pod.uid, events.POLICY, problem)


def _namespace(found: dict[str, Any]) -> tuple[str, Any]:
    return found["metadata"]["name"], annotated.ours(found["metadata"]) or _NOTHING


def _reached(found: dict[str, Any]) -> tuple[str, Any]:
    return found["metadata"]["name"], quota_notice.reached(found)


def _pod(found: dict[str, Any]) -> tuple[str, Any]:
    meta = found["metadata"]
    uids = frozenset(kube_pods.uids(found))
    said = annotated.ours(meta)
    return meta["uid"], rules.Pod(meta["namespace"], meta["name"], meta["uid"], uids, said)
