"""A namespace's dumps are those of this namespace, not of an earlier one of the same name.

Between the deletion of a namespace and the collector's next pass, its dumps are still in the store;
a tenant who is given the same name must never see them.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import dataclasses
import datetime
import threading
import time
import urllib.parse
from collections.abc import Iterator
from typing import Any

from coredumpd import errors
from coredumpd.apiserver.auth import interface as auth
from coredumpd.formats import layout, names
from coredumpd.formats import record as records
from coredumpd.server.dumps import ownership
from coredumpd.store import interface

CACHE_S = 5.0
CACHED_MAX = 1024
SKEW_S = 300.0  # a node's clock may be so much ahead of the API server's
_TIMEOUT_S = 5.0


@dataclasses.dataclass(frozen=True)
class Namespace:
    """One life of a namespace."""

    uid: str
    created_s: float

    def owns(self, crash: records.CrashRecord) -> bool:
        """Did this crash happen in this life?"""
        recorded = crash.raw.get("namespaceUID")
        return ownership.is_of_namespace(
            recorded if isinstance(recorded, str) else None,
            names.id_time(crash.id),
            self.uid,
            self.created_s,
        )


class Namespaces:
    """Asks kube-apiserver; made on the event loop, called from the store's threads."""

    def __init__(self, kube: auth.Kube) -> None:
        self._kube = kube
        self._loop = asyncio.get_running_loop()
        self._lock = threading.Lock()
        self._cache: dict[str, tuple[float, Namespace | None]] = {}

    def current(self, name: str) -> Namespace | None:
        """The namespace as it is now, or was some seconds ago; None when there is none.

        Raises Unavailable: what cannot be asked is not shown.
        """
        with self._lock:
            until_s, known = self._cache.get(name, (0.0, None))
        if time.monotonic() < until_s:
            return known
        asked = asyncio.run_coroutine_threadsafe(self._ask(name), self._loop)
        try:
            found = asked.result(2 * _TIMEOUT_S)
        except concurrent.futures.TimeoutError as error:
            asked.cancel()
            raise errors.Unavailable(f"namespace {name} could not be asked about") from error
        with self._lock:
            while len(self._cache) >= CACHED_MAX:
                del self._cache[next(iter(self._cache))]
            self._cache[name] = (time.monotonic() + CACHE_S, found)
        return found

    async def _ask(self, name: str) -> Namespace | None:
        path = f"/api/v1/namespaces/{urllib.parse.quote(name, safe='')}"
        try:
            _, document = await self._kube.request("GET", path, timeout_s=_TIMEOUT_S)
        except errors.NotFound:
            return None
        except errors.Forbidden as error:
            raise errors.Unavailable(f"the server may not read namespaces: {error}") from error
        meta = document["metadata"]
        born = datetime.datetime.fromisoformat(meta["creationTimestamp"])
        return Namespace(meta["uid"], born.timestamp())


class OwnStore:
    """A store whose dumps are those of the namespaces that are; the rest is not there."""

    def __init__(self, engine: Any, namespaces: Namespaces) -> None:
        """`engine`: a `store.Store`."""
        self._engine = engine
        self._namespaces = namespaces

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def list(self, prefix: layout.Prefix = interface.EVERYTHING) -> Iterator[layout.DumpKey]:
        """See `store.Store.list`. Reads a record only where the time in the key does not decide."""
        for key in self._engine.list(prefix):
            if self._is_surely_shown(key):
                yield key
                continue
            try:
                self.read_record(key)
            except (errors.NotFound, errors.BadRecord):
                continue  # an earlier namespace's, or nobody's
            yield key

    def scan(
        self, prefix: layout.Prefix = interface.EVERYTHING
    ) -> Iterator[tuple[layout.DumpKey, records.CrashRecord]]:
        """See `store.Store.scan`."""
        for key, crash in self._engine.scan(prefix):
            if self._shows(key, crash):
                yield key, crash

    def read_record(self, key: layout.DumpKey) -> records.CrashRecord:
        """See `store.Store.read_record`."""
        crash: records.CrashRecord = self._engine.read_record(key)
        if not self._shows(key, crash):
            raise errors.NotFound(f"no dump {key}")
        return crash

    def open_core(self, key: layout.DumpKey) -> Any:
        """See `store.Store.open_core`."""
        self.read_record(key)
        return self._engine.open_core(key)

    def delete(self, key: layout.DumpKey) -> None:
        """See `store.Store.delete`."""
        self.read_record(key)
        self._engine.delete(key)

    def _is_surely_shown(self, key: layout.DumpKey) -> bool:
        if key.namespace == names.HOST_NAMESPACE:
            return True
        namespace = self._namespaces.current(key.namespace)
        return namespace is not None and names.id_time(key.id) > namespace.created_s + SKEW_S

    def _shows(self, key: layout.DumpKey, crash: records.CrashRecord) -> bool:
        if key.namespace == names.HOST_NAMESPACE:
            return True
        namespace = self._namespaces.current(key.namespace)
        return namespace is not None and namespace.owns(crash)
