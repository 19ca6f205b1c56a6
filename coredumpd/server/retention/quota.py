"""A namespace's quota: who is over it, what goes for it, and who is told.

`onQuota: evict` removes dumps (`vacuum.choose_victims`); `reject` removes nothing and tells the
agents that no new core is kept there (`coredumpd.quotas`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection
from typing import Any, Protocol

from coredumpd import errors, units
from coredumpd.formats import event_reasons, layout, names, quota_notice
from coredumpd.formats import record as records

EVENT = event_reasons.QUOTA
WARN_SHARE = 0.9
_TIMEOUT_S = 30.0
_log = logging.getLogger(__name__)

# Tell a pod's owner: namespace, name and uid of the pod, the Event's reason, a sentence.
Tell = Callable[[str, str, str, str, str], Awaitable[None]]


class Store(Protocol):
    """The part of `store.Store` that is needed here."""

    def read_record(self, key: layout.DumpKey) -> records.CrashRecord: ...


class Kube(Protocol):
    """The part of `kube.client.Client` that is needed here."""

    async def request(
        self, method: str, path: str, body: object = None, *, timeout_s: float = ...
    ) -> tuple[int, Any]: ...


class Verdict:
    """What a namespace's usage means. Pure."""

    def __init__(self, used: int, quota: int, reject: bool) -> None:
        """Bytes of core.gz."""
        self.near = used >= WARN_SHARE * quota
        self.reached = reject and used >= quota
        then = "no new core is kept" if reject else "the oldest dump of the pod with the most goes"
        share = f"{units.format_quantity(used)} of its quota of {units.format_quantity(quota)}"
        self.sentence = f"the namespace uses {share} for core dumps; at the quota {then}"


class Teller:
    """Tells of quotas, each piece of news once. Belongs to one event loop."""

    def __init__(self, stored: Store, tell: Tell) -> None:
        self._store = stored
        self._tell = tell
        self._told: dict[str, int] = {}  # bytes a namespace used when it was last warned

    async def near(self, namespace: str, used: int, newest: layout.DumpKey, why: Verdict) -> None:
        """At most once for the same usage: a pass comes every minute."""
        if not why.near:
            self._told.pop(namespace, None)
        elif self._told.get(namespace) != used:
            self._told[namespace] = used
            _log.warning("namespace %s: %s", namespace, why.sentence)
            await self._pod(newest, why.sentence)

    async def removed(self, keys: Collection[layout.DumpKey], quota: int) -> None:
        """`keys`, of one namespace, are about to go."""
        pods = {key.pod_uid: key for key in keys}
        for uid, key in pods.items():
            count = sum(1 for one in keys if one.pod_uid == uid)
            over = f"the namespace is over its quota of {units.format_quantity(quota)}"
            await self._pod(key, f"{count} core dumps of this pod are removed: {over}")

    async def _pod(self, key: layout.DumpKey, sentence: str) -> None:
        """An Event is a courtesy: a dump whose record cannot be read has none."""
        if key.namespace == names.HOST_NAMESPACE:
            return
        try:
            name = (await asyncio.to_thread(self._store.read_record, key)).raw["podName"]
        except errors.CoredumpdError as error:
            _log.info("no Event about %s: %s", key, error)
            return
        if name:
            await self._tell(key.namespace, name, key.pod_uid, EVENT, sentence)


class Notice:
    """The ConfigMap that agents follow. `namespace` None: there is nobody to tell."""

    def __init__(self, kube: Kube, namespace: str | None) -> None:
        self._kube = kube
        self._namespace = namespace
        self._said: frozenset[str] | None = None

    async def publish(self, reached: Collection[str]) -> None:
        """Say it, unless it was said last time. Raises what the API refuses."""
        news = frozenset(reached)
        if self._namespace is None or news == self._said:
            return
        path = f"/api/v1/namespaces/{self._namespace}/configmaps/{quota_notice.CONFIG_MAP}"
        try:
            await self._kube.request("PUT", path, quota_notice.document(news), timeout_s=_TIMEOUT_S)
        except errors.NotFound:  # part of the installation; without it nobody was told before, too
            if news:
                _log.error("no ConfigMap %s: agents keep cores over quota", quota_notice.CONFIG_MAP)
            return
        self._said = news
        if news:
            _log.warning("no new cores are kept in %s: over quota", ", ".join(sorted(news)))
