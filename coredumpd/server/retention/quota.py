"""A namespace's quota: which namespaces exceed it, and who is notified.

`onQuota: evict` removes dumps (`eviction.select`); `reject` removes nothing and tells the agents to
keep no new core there (`formats.quota_notice`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection
from typing import Protocol

from coredumpd import errors, units
from coredumpd.formats import event_reasons, layout, names, quota_notice
from coredumpd.formats import record as records
from coredumpd.kube import api

WARN_SHARE = 0.9
NO_SPACE = "the store's disk is nearly full"
_TIMEOUT_S = 30.0
_log = logging.getLogger(__name__)

# Write an Event about a pod: its namespace, name and uid, the Event's reason, a sentence.
WriteEvent = Callable[[str, str, str, str, str], Awaitable[None]]


class Store(Protocol):
    """The part of `store.Store` that is needed here."""

    def read_record(self, key: layout.DumpKey) -> records.CrashRecord: ...


class Usage:
    """How much of its quota a namespace uses, and what follows from that. Pure."""

    def __init__(self, used: int, quota: int, reject: bool, reserve_percent: int = 0) -> None:
        """Bytes of core.gz. `reject`: a full namespace keeps no new core.

        Agents that write to the store themselves learn of a full namespace one pass later. So it
        counts as full when less than the reserve is left; where dumps are evicted instead, when it
        is over its quota by more than the reserve, until the next pass.
        """
        self.used = used
        self.excess = used - quota
        reserve = quota * reserve_percent // 100
        self.is_near = used >= WARN_SHARE * quota
        self.is_full = used >= quota - reserve if reject else self.excess > reserve > 0
        then = "no new core is kept" if reject else "dumps of the pod with the most bytes go"
        share = f"{units.format_quantity(used)} of its quota of {units.format_quantity(quota)}"
        self.sentence = f"the namespace uses {share} for core dumps; at the quota {then}"


def over(quota: int) -> str:
    """Why dumps are removed, for Events and the log."""
    return f"the namespace is over its quota of {units.format_quantity(quota)}"


def too_many(dumps_max: int) -> str:
    """Why dumps are removed, for Events and the log."""
    return f"the namespace has more than {dumps_max} core dumps"


class Notifier:
    """Writes Events about quotas to pods, each news once. Belongs to one event loop."""

    def __init__(self, store: Store, write_event: WriteEvent) -> None:
        self._store = store
        self._write_event = write_event
        self._warned: dict[str, int] = {}  # namespace → bytes it used at its last warning

    async def near(self, namespace: str, usage: Usage, newest: layout.DumpKey) -> None:
        """Warn if the quota is near; once for the same usage, since a pass comes every minute."""
        if not usage.is_near:
            self._warned.pop(namespace, None)
        elif self._warned.get(namespace) != usage.used:
            self._warned[namespace] = usage.used
            _log.warning("namespace %s: %s", namespace, usage.sentence)
            await self._write(newest, usage.sentence)

    async def evicted(self, keys: Collection[layout.DumpKey], cause: str) -> None:
        """Tell the pods whose dumps these are, of one namespace, that they are being removed."""
        pods = {key.pod_uid: key for key in keys}
        for uid, key in pods.items():
            count = sum(1 for other in keys if other.pod_uid == uid)
            await self._write(key, f"{count} core dumps of this pod are removed: {cause}")

    async def _write(self, key: layout.DumpKey, sentence: str) -> None:
        """An Event is a courtesy: a dump whose record cannot be read gets none."""
        if key.namespace == names.HOST_NAMESPACE:
            return
        try:
            record = await asyncio.to_thread(self._store.read_record, key)
        except errors.CoredumpdError as error:
            _log.info("no Event about %s: %s", key, error)
            return
        if record.pod_name:
            await self._write_event(
                key.namespace, record.pod_name, key.pod_uid, event_reasons.QUOTA, sentence
            )


class Notice:
    """Keeps the ConfigMap that agents follow. `namespace` None: there are no agents to notify."""

    def __init__(self, kube: api.Requests, namespace: str | None) -> None:
        self._kube = kube
        self._namespace = namespace
        self._published: frozenset[str] | None = None

    async def publish(self, full: Collection[str]) -> None:
        """Write which namespaces are full, if that has changed. Raises what the API refuses."""
        namespaces = frozenset(full)
        if self._namespace is None or namespaces == self._published:
            return
        path = f"/api/v1/namespaces/{self._namespace}/configmaps/{quota_notice.CONFIG_MAP}"
        document = quota_notice.document(namespaces)
        try:
            await self._kube.request("PUT", path, document, timeout_s=_TIMEOUT_S)
        except errors.NotFound:  # it is part of the installation: nothing was ever published
            if namespaces:
                _log.error("no ConfigMap %s: agents keep cores over quota", quota_notice.CONFIG_MAP)
            return
        self._published = namespaces
        if namespaces:
            _log.warning("no new cores are kept in %s: over quota", ", ".join(sorted(namespaces)))
