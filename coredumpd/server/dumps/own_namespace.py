"""A namespace's dumps are those of this namespace, not of a former one of the same name.

Between the deletion of a namespace and the collector's next pass, its dumps are still in the store;
a tenant who is given the same name must never see them.

`Guard` looks namespaces up, on the event loop; `OwnStore` filters by them, in the store's threads.
What is not filtered is not there: a method of the store that `OwnStore` does not list does not
exist for a handler.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from typing import Protocol

from coredumpd import errors
from coredumpd.archive import stream
from coredumpd.formats import core_index, layout, names
from coredumpd.formats import record as records
from coredumpd.server import cluster as clusters
from coredumpd.server.dumps import ownership, proofs
from coredumpd.store import interface, reader


class Store(Protocol):
    """The part of `store.interface.Store` that is filtered here."""

    def list(self, prefix: layout.Prefix, /) -> Iterator[layout.DumpKey]: ...
    def read_note(self, namespace: str, pod_uid: str, name: str) -> bytes | None: ...
    def scan(
        self, prefix: layout.Prefix, /
    ) -> Iterator[tuple[layout.DumpKey, records.CrashRecord]]: ...
    def read_record(self, key: layout.DumpKey) -> records.CrashRecord: ...
    def open_core(self, key: layout.DumpKey) -> stream.Core: ...
    def open_file(self, path: str) -> interface.Core: ...
    def delete(self, key: layout.DumpKey) -> None: ...


class OwnStore:
    """Only the dumps of `namespaces`, each in its present life, and those of no namespace.

    Lives as long as one question: what it has read of proofs, it does not read again.
    """

    def __init__(self, store: Store, namespaces: Mapping[str, clusters.Namespace]) -> None:
        self._store = store
        self._namespaces = namespaces
        self._proofs: dict[tuple[str, str], str | None] = {}  # by namespace and pod

    def list(self, prefix: layout.Prefix) -> Iterator[layout.DumpKey]:
        """See `Store.list`."""
        return self.own(self._store.list(prefix))

    def own(self, keys: Iterable[layout.DumpKey]) -> Iterator[layout.DumpKey]:
        """Those of `keys` that may be shown.

        Reads a record only where the time of the crash is near the namespace's creation. So a
        caller that shows anything but the number of keys must read the others' records, too.
        """
        for key in keys:
            if self._is_probably_shown(key):
                yield key
                continue
            try:
                self.read_record(key)
            except (errors.NotFound, errors.BadRecord):
                continue  # a former namespace's, or nobody's
            yield key

    def scan(self, prefix: layout.Prefix) -> Iterator[tuple[layout.DumpKey, records.CrashRecord]]:
        """See `Store.scan`."""
        for key, record in self._store.scan(prefix):
            if self.shows(key, record):
                yield key, record

    def read_record(self, key: layout.DumpKey) -> records.CrashRecord:
        """See `Store.read_record`."""
        record = self._store.read_record(key)
        if not self.shows(key, record):
            raise errors.NotFound(f"no dump {key}")
        return record

    def open_core(self, key: layout.DumpKey) -> stream.Core:
        """See `Store.open_core`."""
        self.read_record(key)
        return self._store.open_core(key)

    def open_beside(self, key: layout.DumpKey, name: str) -> stream.Core:
        """The file `name` beside the dump's own. Raises NotFound."""
        self.read_record(key)
        return self._store.open_file(f"{key}/{name}")

    def index(self, key: layout.DumpKey, record: records.CrashRecord) -> core_index.Index | None:
        """The index of the dump with this `record`, None where it has none.

        Raises NotFound; StorageError for one that is not the record's.
        """
        try:
            if record.index is not None:
                self.read_record(key)
            return reader.index(self._store, key, record)
        except errors.BadRecord as error:
            raise errors.StorageError(f"{key}: {error}") from error

    def delete(self, key: layout.DumpKey) -> None:
        """See `Store.delete`."""
        self.read_record(key)
        self._store.delete(key)

    def shows(self, key: layout.DumpKey, record: records.CrashRecord) -> bool:
        """Is this dump of one of the namespaces, or of none?"""
        if key.namespace == names.HOST_NAMESPACE:
            return True
        namespace = self._namespaces.get(key.namespace)
        if namespace is None:
            return False
        return ownership.is_of(namespace, record) or self._is_proven(namespace, key, record)

    def _is_proven(
        self, namespace: clusters.Namespace, key: layout.DumpKey, record: records.CrashRecord
    ) -> bool:
        if record.namespace_uid is not None:
            return False
        pod = key.namespace, key.pod_uid
        if pod not in self._proofs:
            self._proofs[pod] = proofs.uid_of(self._store, *pod)
        return self._proofs[pod] is not None and self._proofs[pod] == namespace.uid

    def _is_probably_shown(self, key: layout.DumpKey) -> bool:
        if key.namespace == names.HOST_NAMESPACE:
            return True
        namespace = self._namespaces.get(key.namespace)
        return namespace is not None and ownership.is_surely_after(namespace, names.id_time(key.id))


class Guard:
    """The only way from a handler to the store."""

    def __init__(self, store: Store, cluster: clusters.Cluster) -> None:
        self._store = store
        self._cluster = cluster

    async def own(self, namespaces: Iterable[str]) -> OwnStore:
        """The store as far as these namespaces own it. Call on the event loop.

        Raises Unavailable: while Kubernetes does not say which life a namespace is in, nothing of
        it is shown.
        """
        of_pods = sorted(set(namespaces) - {names.HOST_NAMESPACE})
        lives = await asyncio.gather(*map(self._cluster.namespace, of_pods))
        present = {
            name: life for name, life in zip(of_pods, lives, strict=True) if life is not None
        }
        return OwnStore(self._store, present)

    def candidates(self) -> list[layout.DumpKey]:
        """The keys of every dump of every life. Blocks. To be shown, they must pass `OwnStore.own`.

        Their namespaces are those to look up: which namespaces have dumps, only the store knows.
        """
        return list(self._store.list(layout.Prefix()))

    def check(self) -> None:
        """Raises StorageError while the store cannot be listed. Blocks."""
        next(iter(self._store.list(layout.Prefix("kube-system"))), None)
