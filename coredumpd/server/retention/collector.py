"""Garbage collection, by the one server that leads: deleted namespaces and pods, loops, quotas.

What Kubernetes cannot be asked about stays. The time a pod was found deleted is noted beside its
dumps, so that no restart forgets a deadline, and no server has to remember it.
"""

from __future__ import annotations

import asyncio
import datetime
import io
import json
import logging
import time
import urllib.parse
from collections.abc import Awaitable, Callable, Collection, Iterator
from typing import Any, BinaryIO, Protocol

import prometheus_client

from coredumpd import errors
from coredumpd.apiserver.auth import interface
from coredumpd.formats import annotations as annotated
from coredumpd.formats import crash_loop as crashloop
from coredumpd.formats import layout, names
from coredumpd.formats import record as records
from coredumpd.server.dumps import ownership
from coredumpd.server.retention import crash_loops, eviction, listing
from coredumpd.server.retention import quota as allowance
from coredumpd.settings import sections
from coredumpd.store import interface as store_interface

DELETED = "deleted.json"
CONFIG_HASH = "kubernetes.io/config.hash"  # a static pod's uid, on its mirror pod
_PAGE = 500
_SKEW_S = 300.0  # clocks of nodes and of the API server differ; nothing is removed by that
_TIMEOUT_S = 30.0
_log = logging.getLogger(__name__)


class Store(Protocol):
    """The part of `store.Store` that is needed here."""

    def files(self) -> Iterator[store_interface.File]: ...
    def read_record(self, key: layout.DumpKey) -> records.CrashRecord: ...
    def commit(self, key: layout.DumpKey, entry: records.CrashRecord, core: BinaryIO) -> None: ...
    def delete(self, key: layout.DumpKey) -> None: ...
    def read_note(self, namespace: str, pod_uid: str, name: str) -> bytes | None: ...
    def write_note(self, namespace: str, pod_uid: str, name: str, data: bytes) -> None: ...
    def delete_note(self, namespace: str, pod_uid: str, name: str) -> None: ...


class Stop(Exception):
    """This server does not lead any more: the pass ends where it is."""


class Collector:
    """Passes over the store. `leads` is asked before every removal."""

    def __init__(
        self,
        stored: Store,
        kube: interface.Kube,
        rules: sections.RetentionSettings,
        crash_loop: sections.CrashLoopSettings,
        leads: Callable[[], bool],
        *,
        notice: allowance.Notice,
        tell: allowance.Tell,
        forget: Callable[[str, str], Awaitable[None]],
        in_use: Callable[[], Collection[layout.DumpKey]],
        registry: prometheus_client.CollectorRegistry,
    ) -> None:
        """`forget(namespace, podUID)` removes what refers to a pod whose dumps are gone.

        `tell` writes an Event about a pod, `notice` tells the agents where no core may be kept.
        """
        self._store = stored
        self._kube = kube
        self._rules = rules
        self._leads = leads
        self._forget = forget
        self._in_use = in_use
        self._thinner = crash_loops.Thinner(stored, crash_loop)
        self._teller = allowance.Teller(stored, tell)
        self._notice = notice
        self._full: set[str] = set()  # namespaces that keep no new core
        self._removed = prometheus_client.Counter(
            "coredumpd_server_removed_dumps", "Dumps removed.", ("reason",), registry=registry
        )
        self._passed_s = prometheus_client.Gauge(
            "coredumpd_server_collected_time_seconds", "When a pass last ended.", registry=registry
        )

    async def run(self) -> None:
        """A pass every interval while this server leads. A pass that fails is tried again."""
        while True:
            await asyncio.sleep(self._rules.interval)
            if not self._leads():
                continue
            try:
                await self.collect()
            except Stop:
                _log.info("another server leads, it goes on collecting")
            except errors.CoredumpdError as error:
                _log.warning("collecting garbage stopped, again later: %s", error)

    async def collect(self) -> None:
        """One pass. Memory: one namespace's keys. Raises StorageError, Unavailable, Stop."""
        namespaces = {
            item["metadata"]["name"]: item for item in await self._all("/api/v1/namespaces")
        }
        groups = await asyncio.to_thread(listing.Namespaces, self._store.files())
        while (group := await asyncio.to_thread(groups.next)) is not None:
            name, stored = group
            if name == names.HOST_NAMESPACE:
                left = await self._thin(name, stored)
                await self._keep_quota(name, left, self._rules.quota, reject=False)
            elif name in namespaces:
                try:
                    await self._of_namespace(namespaces[name], stored)
                except (errors.Unavailable, errors.Forbidden) as error:
                    _log.warning("nothing is removed in %s, it cannot be asked: %s", name, error)
            elif await self._is_gone(name):
                _log.info("namespace %s is deleted, so are its %d dumps", name, len(stored))
                await self._remove_pods(name, stored, "namespace")
        self._full &= namespaces.keys()
        await self._notice.publish(self._full)
        self._passed_s.set(time.time())

    async def _of_namespace(self, namespace: dict[str, Any], stored: list[listing.Stored]) -> None:
        meta = namespace["metadata"]
        name, rules = meta["name"], self._rules_of(meta)
        foreign = await asyncio.to_thread(self._foreign, meta, stored)
        await self._remove_pods(name, foreign, "namespace")
        gone = {dump.key for dump in foreign}
        left = [dump for dump in stored if dump.key not in gone]
        expired = await self._expired(name, left, rules.keep_s)
        await self._remove_pods(name, expired, "pod")
        gone = {dump.key for dump in expired}
        left = await self._thin(name, [dump for dump in left if dump.key not in gone])
        await self._keep_quota(name, left, rules.quota, reject=self._rules.onQuota == "reject")

    def _foreign(self, meta: dict[str, Any], stored: list[listing.Stored]) -> list[listing.Stored]:
        """Dumps of an earlier namespace of the same name; only older ones are looked at."""
        created_s = _seconds(meta["creationTimestamp"])
        found = []
        for dump in stored:
            if dump.time_s < created_s and not self._is_of(dump, meta["uid"], created_s):
                found.append(dump)
        return found

    def _is_of(self, dump: listing.Stored, uid: str, created_s: float) -> bool:
        try:
            recorded = self._store.read_record(dump.key).raw.get("namespaceUID")
        except (errors.NotFound, errors.BadRecord):
            return True  # gone, or for `store check`; nothing to remove here
        return ownership.is_of_namespace(recorded, dump.time_s, uid, created_s - _SKEW_S)

    async def _expired(
        self, namespace: str, stored: list[listing.Stored], keep_s: float
    ) -> list[listing.Stored]:
        """Dumps of pods that were deleted `keep_s` ago; notes what it finds deleted."""
        if not stored:
            return []
        living = await self._living(namespace)
        expired: list[listing.Stored] = []
        for uid, dumps in listing.by_pod(stored).items():
            place = (namespace, uid, DELETED)
            noted = await asyncio.to_thread(self._store.read_note, *place)
            if uid in living:
                if noted is not None:  # seen as deleted once, by mistake
                    await asyncio.to_thread(self._store.delete_note, *place)
            elif (deleted_s := _deleted_s(noted)) is None:
                data = json.dumps({"deletedAt": int(time.time())}).encode()
                await asyncio.to_thread(self._store.write_note, *place, data)
            elif time.time() - deleted_s >= keep_s:
                expired += dumps
        return expired

    async def _thin(self, namespace: str, stored: list[listing.Stored]) -> list[listing.Stored]:
        """Fold what may not keep its core of a crash loop; the dumps that there are then."""
        todo = await asyncio.to_thread(self._thinner.look, namespace, stored, self._in_use())
        left = {dump.key: dump for dump in stored}
        for thinned in todo:
            if thinned.made is not None:
                if not self._leads():
                    raise Stop
                key = thinned.made.key()
                core = io.BytesIO(crashloop.NO_CORE)
                await asyncio.to_thread(self._store.commit, key, thinned.made, core)
                left[key] = listing.Stored(key, len(crashloop.NO_CORE), names.id_time(key.id))
                _log.info("%s counts %d dumps of a crash loop", key, len(thinned.victims))
            for victim in thinned.victims:
                await self._remove(victim, "crash-loop")
                left.pop(victim, None)
        return list(left.values())

    async def _keep_quota(
        self, namespace: str, stored: list[listing.Stored], quota: int, *, reject: bool
    ) -> None:
        used = sum(dump.size for dump in stored)
        verdict = allowance.Verdict(used, quota, reject)
        if stored:
            newest = max(stored, key=listing.age)
            await self._teller.near(namespace, used, newest.key, verdict)
        self._full.discard(namespace)
        if verdict.reached:
            self._full.add(namespace)
        sizes = {dump.key: dump for dump in stored}
        victims = [] if reject else eviction.choose_victims(stored, quota, self._in_use())
        await self._teller.removed(victims, quota)
        for key in victims:
            _log.info("over quota, removed: %s (%d bytes)", key, sizes[key].size)
            await self._remove(key, "quota")

    async def _remove_pods(self, namespace: str, stored: list[listing.Stored], reason: str) -> None:
        for uid, dumps in listing.by_pod(stored).items():
            for dump in dumps:
                await self._remove(dump.key, reason)
            await asyncio.to_thread(self._store.delete_note, namespace, uid, DELETED)
            await self._forget(namespace, uid)

    async def _remove(self, key: layout.DumpKey, reason: str) -> None:
        if not self._leads():
            raise Stop
        try:
            await asyncio.to_thread(self._store.delete, key)
        except errors.NotFound:
            return  # its owner was faster
        self._removed.labels(reason).inc()

    async def _is_gone(self, namespace: str) -> bool:
        """Asked once more, by name: a list may have been made before the namespace was."""
        try:
            await self._kube.request("GET", f"/api/v1/namespaces/{namespace}", timeout_s=_TIMEOUT_S)
        except errors.NotFound:
            return True
        return False

    async def _living(self, namespace: str) -> set[str]:
        """The uids of the pods there are, in both spellings of a static pod's."""
        found = set()
        for pod in await self._all(f"/api/v1/namespaces/{namespace}/pods"):
            meta = pod["metadata"]
            found |= {meta["uid"], (meta.get("annotations") or {}).get(CONFIG_HASH)}
        return found

    async def _all(self, path: str) -> list[dict[str, Any]]:
        """Every object of a collection, page by page: half a list must never look like all."""
        items: list[dict[str, Any]] = []
        token = ""
        while True:
            query = urllib.parse.urlencode(
                {"limit": _PAGE} | ({"continue": token} if token else {})
            )
            _, page = await self._kube.request("GET", f"{path}?{query}", timeout_s=_TIMEOUT_S)
            items += page["items"]
            token = (page.get("metadata") or {}).get("continue") or ""
            if not token:
                return items

    def _rules_of(self, meta: dict[str, Any]) -> annotated.Retention:
        """What holds in a namespace. What cannot be read is told, and keeps the default."""
        default = annotated.Retention(self._rules.quota, self._rules.gcThreshold)
        rules, problems = annotated.retention_of(annotated.ours(meta), default)
        for problem in problems:
            _log.warning("namespace %s: %s", meta["name"], problem)
        return rules


def _deleted_s(note: bytes | None) -> float | None:
    """When the pod was found deleted; None without a note, or with one that cannot be read."""
    try:
        return float(json.loads(note or b"")["deletedAt"])
    except (ValueError, LookupError, TypeError):
        return None


def _seconds(timestamp: str) -> float:
    return datetime.datetime.fromisoformat(timestamp).timestamp()
