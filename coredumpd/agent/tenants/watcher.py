"""Keeps the handler's snapshot of namespaces' and pods' rules in step with Kubernetes.

`informer` has what the API shows, `rules` decides, `policy_file` writes, `problems` reports. While
the API is away the last snapshot holds.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from coredumpd import aiokit, errors
from coredumpd.agent import events, metrics
from coredumpd.agent.tenants import (
    informer,
    lives,
    opt_outs,
    policy_file,
    problems,
    rules,
    verdicts,
)
from coredumpd.formats import annotations as dump_annotations
from coredumpd.formats import record as records
from coredumpd.kube import api
from coredumpd.settings import sections

SETTLE_S = 0.2  # many pods change at once when a node starts
_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Scope:
    """Where to watch and write. `own_namespace`: of the server's ConfigMap of reached quotas."""

    node: str
    host_dir: Path
    own_namespace: str | None = None


class Watcher:
    """Writes the snapshot after each change, and answers by it what may become of a dump."""

    def __init__(
        self,
        kube: api.Api,
        policy: sections.PolicySettings,
        scope: Scope,
        event_writer: events.Events,
        counters: metrics.Metrics,
        on_pod: informer.PodObserver = lambda _: None,
    ) -> None:
        """`on_pod`: see `informer.Informer`."""
        self._policy = policy
        self._scope = scope
        self._on_pod = on_pod
        self._informer = informer.Informer(kube, scope.node, scope.own_namespace, self.note_pod)
        self._problems = problems.Problems(event_writer, counters)
        self._changed = asyncio.Event()
        self._default = dump_annotations.Rules(policy.capture == "enabled", policy.maxSize)
        self.tenants = policy_file.read_tenants(scope.host_dir)
        self._sealed_to = self.tenants.encryptTo
        self._lives = lives.Lives(kube, self.tenants)
        self._opt_outs = opt_outs.OptOuts(self.tenants)

    async def run(self) -> None:
        """Watch for ever. A watch that fails is logged and tried again."""
        async with asyncio.TaskGroup() as jobs:
            jobs.create_task(self._informer.run(self._note))
            jobs.create_task(self._lives.learn(self._informer.pods, self._changed.set))
            jobs.create_task(self._write())
            jobs.create_task(self._problems.run())

    def _note(self, name: str) -> None:
        self._changed.set()
        if name == informer.PODS:
            self._lives.wake.set()

    def note_pod(self, document: dict[str, Any]) -> None:
        """Take a pod of this node as the API shows it: listed, watched or asked for."""
        self._opt_outs.note(informer.pod(document))
        self._on_pod(document)

    def refuses(self, record: records.CrashRecord) -> bool:
        """See `verdicts.refuses`; and has its pod disabled captures, seen now or earlier?"""
        refused = verdicts.refuses(self.tenants, self._policy.capture, record)
        return refused or self._opt_outs.has(record)

    def rule_against(self, namespace: str, pod_uid: str) -> str | None:
        """See `verdicts.rule_against`."""
        pod = self._informer.pod(pod_uid)
        own = self._informer.namespaces().get(namespace)
        return verdicts.rule_against(
            self.tenants,
            self._policy.capture,
            namespace,
            pod_uid,
            {} if pod is None else pod.annotations,
            {} if own is None else own.annotations,
        )

    def is_free(self) -> bool:
        """See `rules.is_free`."""
        return rules.is_free(self._default, self.tenants)

    def life_of(self, record: records.CrashRecord) -> str | None:
        """See `lives.Lives.of_record`."""
        return self._lives.of_record(record)

    def annotations_of(self, namespace: str, uid: str | None) -> Mapping[str, str] | None:
        """The annotations of the namespace with this uid; None for one the watch has not shown."""
        watched = self._informer.namespaces().get(namespace)
        return watched.annotations if watched is not None and watched.uid == uid else None

    def sealed_before(self, namespace: str, uid: str | None) -> str | None:
        """See `verdicts.sealed_before`."""
        return verdicts.sealed_before(self.tenants, namespace, uid)

    async def _write(self) -> None:
        while True:
            await self._changed.wait()
            await asyncio.sleep(SETTLE_S)
            self._changed.clear()
            if not self._informer.is_complete:
                continue
            annotations = {
                name: own.annotations for name, own in self._informer.namespaces().items()
            }
            own_pods = self._informer.pods()
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
            await self._problems.report(decision, annotations, self._default)

    def _reached(self) -> Iterable[str]:
        """Namespaces whose quota is reached; the last snapshot's until the notice is read."""
        reached = self._informer.reached()
        if reached is not None:
            return reached
        last = self.tenants.namespaces
        return [name for name, rules in last.items() if rules.get("quotaReached")]
