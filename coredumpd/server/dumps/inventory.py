"""The store as the server's handlers ask it: asynchronous, and only what a pod's owner may see.

Every question first looks up the namespaces it is about, on the event loop, then asks the store in
a thread of a pool of its own, so that a hung mount stalls downloads but neither the loop nor the
objects.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import dataclasses
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, TypeVar

from coredumpd import errors
from coredumpd.archive import plan as plans
from coredumpd.formats import layout
from coredumpd.formats import record as records
from coredumpd.server.dumps import own_namespace, record_cache

THREADS = 16
INDEXES_BYTES_MAX = 64 * 1024 * 1024  # of the cores of one archive, in memory while it is planned
DUMPS_MAX = 10_000  # in one archive; a pod that has more is downloaded by container or id
_T = TypeVar("_T")


@dataclasses.dataclass(frozen=True)
class Pod:
    """A pod that has dumps: the uid finds them, the name must agree wherever the record has one.

    Without that, a right limited to one object name would reach any pod of the namespace.
    """

    namespace: str
    name: str
    uid: str


class Dump(NamedTuple):
    """A stored dump and what is known of it."""

    key: layout.DumpKey
    record: records.CrashRecord


Dumps = list[Dump]


class Inventory:
    """Questions about stored dumps. Belongs to one event loop.

    All raise StorageError while the store cannot be read, and Unavailable while Kubernetes does not
    say which namespaces there are.
    """

    def __init__(self, guard: own_namespace.Guard) -> None:
        self._guard = guard
        self._threads = concurrent.futures.ThreadPoolExecutor(THREADS, "store")
        self._cache = record_cache.RecordCache()

    async def run(self, call: Callable[..., _T], *arguments: Any) -> _T:
        """`call(*arguments)` in a thread of the store's pool."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, call, *arguments)

    def close(self) -> None:
        """Start no further call."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._cache.close()

    async def own(self, *namespaces: str) -> own_namespace.OwnStore:
        """The store as far as these namespaces own it now; its methods block."""
        return await self._guard.own(namespaces)

    async def keys(self, namespace: str | None) -> list[layout.DumpKey]:
        """The keys of every dump of a namespace, or of all namespaces."""
        if namespace is not None:
            own = await self.own(namespace)
            return await self.run(lambda: list(own.list(layout.Prefix(namespace))))
        candidates = await self.run(self._guard.candidates)
        own = await self._own_of(candidates)
        return await self.run(lambda: list(own.own(candidates)))

    async def read(
        self, keys: Sequence[layout.DumpKey]
    ) -> dict[layout.DumpKey, records.CrashRecord]:
        """The records that can be read, perhaps from memory."""
        own = await self._own_of(keys)
        return await self.run(self._read, own, keys)

    def remembered(self, key: layout.DumpKey) -> records.CrashRecord | None:
        """A record that was read not long ago; never blocks."""
        return self._cache.remembered(key)

    async def of_pod(self, pod: Pod, container: str | None = None) -> Dumps:
        """The pod's dumps, oldest first."""
        own = await self.own(pod.namespace)
        return await self.run(self._of_pod, own, pod, container)

    async def uid_of(self, namespace: str, name: str) -> str | None:
        """The uid that the namespace's newest dump of a pod of that name carries."""
        return await self.run(_uid_of, await self.own(namespace), namespace, name)

    async def text(self, key: layout.DumpKey, name: str, size_max: int) -> bytes:
        """A file beside a dump. Raises NotFound."""
        return await self.run(_text, await self.own(key.namespace), key, name, size_max)

    async def delete(self, key: layout.DumpKey) -> None:
        """Remove the dump and its bytes. Raises NotFound."""
        own = await self.own(key.namespace)
        await self.run(own.delete, key)

    async def check(self) -> None:
        """Raises StorageError while the store cannot be listed."""
        await self.run(self._guard.check)

    async def _own_of(self, keys: Iterable[layout.DumpKey]) -> own_namespace.OwnStore:
        return await self.own(*{key.namespace for key in keys})

    def _read(
        self, own: own_namespace.OwnStore, keys: Sequence[layout.DumpKey]
    ) -> dict[layout.DumpKey, records.CrashRecord]:
        """Those that `own` shows, of those that are remembered, too."""
        readable = self._cache.read(keys, own.read_record)
        return {key: record for key, record in readable.items() if own.shows(key, record)}

    def _of_pod(self, own: own_namespace.OwnStore, pod: Pod, container: str | None) -> Dumps:
        keys = list(own.list(layout.Prefix(pod.namespace, pod.uid, container)))
        dumps = [
            Dump(key, record)
            for key, record in self._read(own, keys).items()
            if record.pod_name in (None, pod.name)
        ]
        return sorted(dumps, key=lambda dump: (dump.record.time_s, str(dump.key)))


def plan(own: own_namespace.OwnStore, dumps: Sequence[Dump], *, holes: bool = True) -> plans.Plan:
    """The archive of these dumps. Blocks: measures each core, and reads its index."""
    if len(dumps) > DUMPS_MAX:
        raise errors.BadRequest.about(
            "container",
            f"{len(dumps)} dumps are more than fit into one archive ({DUMPS_MAX}); "
            "choose by container= or id=",
        )
    size = sum(dump.record.index["size"] for dump in dumps if dump.record.index)
    if size > INDEXES_BYTES_MAX:
        raise errors.BadRequest.about(
            "container",
            f"the indexes of {len(dumps)} cores are {size} bytes, more than one archive can have"
            f" ({INDEXES_BYTES_MAX}); choose by container= or id=",
        )
    return plans.plan(_measured(own, dumps), holes=holes)


def summary(dumps: Sequence[Dump]) -> dict[str, Any]:
    """The `status` of an endpoint, but for what only Kubernetes knows."""
    containers: dict[str, int] = {}
    for dump in dumps:
        containers[dump.key.container] = containers.get(dump.key.container, 0) + 1
    status: dict[str, Any] = {
        "dumps": len(dumps),
        "bytes": sum(dump.record.dump_size for dump in dumps),
        "containers": [
            {"name": container, "dumps": count} for container, count in sorted(containers.items())
        ],
    }
    if dumps:
        status["lastCrash"] = dumps[-1].record.time
    return status


def _measured(own: own_namespace.OwnStore, dumps: Iterable[Dump]) -> Iterable[plans.Dump]:
    for key, record in dumps:
        try:
            with contextlib.closing(own.open_core(key)) as core:
                yield plans.Dump(key, record, core.size, own.index(key, record))
        except errors.NotFound:
            continue  # deleted since it was listed: the archive is of what is there now


def _uid_of(own: own_namespace.OwnStore, namespace: str, name: str) -> str | None:
    newest_s, uid = -1, None
    for key, record in own.scan(layout.Prefix(namespace)):
        if record.pod_name == name and record.time_s > newest_s:
            newest_s, uid = record.time_s, key.pod_uid
    return uid


def _text(own: own_namespace.OwnStore, key: layout.DumpKey, name: str, size_max: int) -> bytes:
    with contextlib.closing(own.open_beside(key, name)) as file:
        return file.read_at(0, size_max)
