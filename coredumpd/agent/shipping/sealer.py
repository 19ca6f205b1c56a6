"""Whether a core is sealed before it leaves the node, and to whom.

A namespace's annotation `coredump.fujitsu.com/encrypt-to` names a ConfigMap of that namespace; who
may write the ConfigMap chooses the keys. Sealing fails closed: while the agent cannot find out
whether, or to whom, to seal a core, the core stays in the spool.
"""

from __future__ import annotations

import logging
import urllib.parse
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from coredumpd import aiokit, cache, errors, sealing
from coredumpd.agent import events, metrics
from coredumpd.agent.shipping import attribution, sealed_core
from coredumpd.agent.shipping import entry as entries
from coredumpd.formats import annotations as dump_annotations
from coredumpd.formats import event_reasons, names
from coredumpd.formats import record as records
from coredumpd.kube import api

KEY = "recipients"  # of the ConfigMap
EVENT_REPEAT_S = 1800.0  # an Event expires after an hour, the problem may not
PROBLEMS_MAX = 1000
_log = logging.getLogger(__name__)


class Tenants(Protocol):
    """The annotations of the namespace with a uid; `tenants.Watcher` has them."""

    def annotations_of(self, namespace: str, uid: str | None) -> Mapping[str, str] | None:
        """None for a namespace that no watch has shown."""

    def sealed_before(self, namespace: str, uid: str | None) -> str | None:
        """The ConfigMap by the last snapshot. Raises Unavailable where that does not know."""


class Sealer:
    """See `entry.Sealer`."""

    def __init__(
        self,
        kube: api.Requests,
        tenants: Tenants,
        event_writer: events.Events,
        counters: metrics.Metrics,
        keep_free: Callable[[], int | None] = lambda: 0,
    ) -> None:
        """`keep_free`: bytes that stay free on the spool's disk, see `spool.room`."""
        self._kube = kube
        self._tenants = tenants
        self._events = event_writer
        self._metrics = counters
        self._keep_free = keep_free
        self._announced = cache.expiring(PROBLEMS_MAX, EVENT_REPEAT_S)

    async def seal(
        self, entry: entries.Entry, record: records.CrashRecord
    ) -> records.CrashRecord | None:
        """See `entry.Sealer.seal`."""
        namespace = record.namespace or ""
        if record.sealed is not None or record.namespace == names.HOST_NAMESPACE:
            return record
        try:
            name = await self._config_map(namespace, record.namespace_uid)
            if name is None:
                return record
            recipients = await self._recipients(record, namespace, name)
            sealed = await aiokit.call(
                sealed_core.seal, entry, record, recipients, self._keep_free()
            )
        except attribution.NamespaceGoneError:
            _log.warning("%s can never be sealed: its namespace is gone", record.id)
            return None
        except (errors.CannotSeal, errors.StorageError):
            self._metrics.seal_failures.inc()
            raise
        self._metrics.sealed.inc()
        _log.info("sealed %s to %s", record.id, ", ".join(recipients.names))
        return sealed

    async def _config_map(self, namespace: str, uid: str | None) -> str | None:
        """The ConfigMap with the recipients; None where cores stay plain.

        The API is asked about a namespace that no watch has shown: it, or this agent, is new.
        Raises CannotSeal, and NamespaceGoneError: who has the name now has no say about this dump.
        """
        watched = self._tenants.annotations_of(namespace, uid)
        if watched is not None:
            return watched.get(dump_annotations.ENCRYPT_TO)
        try:
            document = await self._namespace(namespace, uid)
        except errors.CannotSeal as error:
            try:
                return self._tenants.sealed_before(namespace, uid)
            except errors.Unavailable as unknown:
                raise errors.CannotSeal(f"{unknown}: {error}") from error
        return dump_annotations.ours(document["metadata"]).get(dump_annotations.ENCRYPT_TO)

    async def _recipients(
        self, record: records.CrashRecord, namespace: str, name: str
    ) -> sealing.Recipients:
        """The keys that can open the core.

        Raises CannotSeal, after an Event on the pod that names the problem; NamespaceGoneError.
        """
        problem = dump_annotations.no_config_map(name)
        if problem is None:
            annotation = f"{dump_annotations.PREFIX}{dump_annotations.ENCRYPT_TO}"
            config_map = f"ConfigMap {namespace}/{name}, named by annotation {annotation},"
            path = f"/api/v1/namespaces/{_quoted(namespace)}"
            try:
                document = await self._get(f"{path}/configmaps/{_quoted(name)}")
                # Afterwards: a ConfigMap of the namespace that has the name now is not its own.
                await self._namespace(namespace, record.namespace_uid)
                return sealing.recipients((document.get("data") or {}).get(KEY) or "")
            except errors.Invalid as error:
                problem = f"{config_map} key {KEY}: {error.message}"
            except errors.NotFound:
                await self._namespace(namespace, record.namespace_uid)
                problem = f"{config_map} is not there"
            except errors.Forbidden:
                rule = "only coredump-recipients may"
                problem = f"{config_map} may not be read by the agent: {rule}"
            except errors.CannotSeal:
                raise
            except errors.CoredumpdError as error:
                raise errors.CannotSeal(f"{config_map} cannot be read: {error}") from error
        await self._announce(record, namespace, problem)
        raise errors.CannotSeal(problem)

    async def _namespace(self, name: str, uid: str | None) -> Any:
        """The namespace with this uid. Raises NamespaceGoneError, CannotSeal."""
        try:
            document = await self._get(f"/api/v1/namespaces/{_quoted(name)}")
        except errors.NotFound as error:
            raise attribution.NamespaceGoneError from error
        except errors.CoredumpdError as error:
            raise errors.CannotSeal(f"namespace {name} cannot be read: {error}") from error
        if uid is None or document["metadata"]["uid"] != uid:
            raise attribution.NamespaceGoneError
        return document

    async def _announce(self, record: records.CrashRecord, namespace: str, problem: str) -> None:
        """Write an Event on the pod; one about the same problem only every EVENT_REPEAT_S."""
        name, uid = record.pod_name, record.pod_uid
        if not name or not uid or (uid, problem) in self._announced:
            return
        self._announced[uid, problem] = True
        message = f"{problem}; until then the core dump stays, not encrypted, on its node"
        await self._events.pod(namespace, name, uid, event_reasons.POLICY, message)

    async def _get(self, path: str) -> Any:
        _, document = await self._kube.request("GET", path, timeout_s=attribution.CONFIRM_TIMEOUT_S)
        return document


def _quoted(name: str) -> str:
    return urllib.parse.quote(name, safe="")
