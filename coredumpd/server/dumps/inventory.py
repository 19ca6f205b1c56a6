"""The store as the server's handlers ask it: asynchronous, and only what a pod's owner may see.

Every store call runs in a thread of its own pool, so that a hung mount stalls downloads but neither
the loop nor the objects.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Protocol, TypeVar

from coredumpd import errors
from coredumpd.archive import plan as archives
from coredumpd.archive import stream
from coredumpd.formats import layout, record
from coredumpd.server.dumps import record_cache
from coredumpd.store import interface

THREADS = 16
DUMPS_MAX = 10_000  # in one archive; a pod that has more is downloaded by container or id
_T = TypeVar("_T")


class Store(Protocol):
    """The part of `store.Store` that the server uses."""

    def list(self, prefix: layout.Prefix = interface.EVERYTHING) -> Iterator[layout.DumpKey]: ...
    def scan(
        self, prefix: layout.Prefix = interface.EVERYTHING
    ) -> Iterator[tuple[layout.DumpKey, record.CrashRecord]]: ...
    def read_record(self, key: layout.DumpKey) -> record.CrashRecord: ...
    def open_core(self, key: layout.DumpKey) -> stream.Core: ...
    def delete(self, key: layout.DumpKey) -> None: ...
    def open_file(self, path: str) -> stream.Core: ...


@dataclasses.dataclass(frozen=True)
class Pod:
    """Whose dumps: the uid finds them, the name must agree wherever the record has one.

    Without that, a right limited to one object name would reach any pod of the namespace.
    """

    namespace: str
    name: str
    uid: str


Found = list[tuple[layout.DumpKey, record.CrashRecord]]


class Inventory:
    """Questions about stored dumps."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._threads = concurrent.futures.ThreadPoolExecutor(THREADS, "store")
        self._records = record_cache.Records(store.read_record)

    async def run(self, call: Callable[..., _T], *arguments: Any) -> _T:
        """`call(*arguments)` in a thread of the store's pool."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, call, *arguments)

    def close(self) -> None:
        """Start no further call."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._records.close()

    async def of_pod(self, pod: Pod, container: str | None = None) -> Found:
        """The pod's dumps, oldest first. Raises StorageError."""
        return await self.run(self._of_pod, pod, container)

    async def uid_of(self, namespace: str, name: str) -> str | None:
        """The uid that the namespace's newest dump of a pod of that name carries."""
        return await self.run(self._uid_of, namespace, name)

    async def check(self) -> None:
        """Raises StorageError while the store cannot be listed."""
        await self.run(lambda: next(iter(self.store.list(layout.Prefix("kube-system"))), None))

    def plan(self, found: Found) -> archives.Plan:
        """The archive of these dumps. Blocks: measures each core."""
        if len(found) > DUMPS_MAX:
            raise errors.BadRequest.about(
                "container",
                f"{len(found)} dumps are more than fit into one archive ({DUMPS_MAX}); "
                "choose by container= or id=",
            )
        return archives.plan(self._measured(found))

    def records(self, keys: Sequence[layout.DumpKey]) -> dict[layout.DumpKey, record.CrashRecord]:
        """The records that can be read, perhaps from memory. Blocks."""
        return self._records.read(keys)

    def remembered(self, key: layout.DumpKey) -> record.CrashRecord | None:
        """A record that was read not long ago; never blocks."""
        return self._records.remembered(key)

    async def text(self, key: layout.DumpKey, name: str, size_max: int) -> bytes:
        """A file beside a dump. Raises NotFound, StorageError."""
        return await self.run(self._text, f"{key}/{name}", size_max)

    def _text(self, path: str, size_max: int) -> bytes:
        with contextlib.closing(self.store.open_file(path)) as file:
            return file.read_at(0, size_max)

    def _of_pod_keys(self, pod: Pod, container: str | None) -> Found:
        keys = list(self.store.list(layout.Prefix(pod.namespace, pod.uid, container)))
        return list(self._records.read(keys).items())

    def _measured(self, found: Found) -> Iterable[archives.Dump]:
        for key, crash in found:
            try:
                with contextlib.closing(self.store.open_core(key)) as core:
                    yield archives.Dump(key, crash, core.size)
            except errors.NotFound:
                continue  # deleted since it was listed: the archive is of what is there now

    def _of_pod(self, pod: Pod, container: str | None) -> Found:
        found = [
            (key, crash)
            for key, crash in self._of_pod_keys(pod, container)
            if crash.raw.get("podName") in (None, pod.name)
        ]
        return sorted(found, key=lambda pair: (pair[1].time_s, str(pair[0])))

    def _uid_of(self, namespace: str, name: str) -> str | None:
        newest, uid = -1, None
        for key, crash in self.store.scan(layout.Prefix(namespace)):
            if crash.raw.get("podName") == name and crash.time_s > newest:
                newest, uid = crash.time_s, key.pod_uid
        return uid


def summary(found: Found) -> dict[str, Any]:
    """The `status` of an endpoint, but for what only Kubernetes knows."""
    containers: dict[str, int] = {}
    for key, _ in found:
        containers[key.container] = containers.get(key.container, 0) + 1
    status: dict[str, Any] = {
        "dumps": len(found),
        "bytes": sum(crash.raw["core"]["storedSize"] for _, crash in found),
        "containers": [
            {"name": name, "dumps": dumps} for name, dumps in sorted(containers.items())
        ],
    }
    if found:
        status["lastCrash"] = found[-1][1].raw["time"]
    return status
