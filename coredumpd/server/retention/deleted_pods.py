"""Pods that were deleted and still have dumps: since when.

The time at which a pod was found deleted is a note beside its dumps, so that no restart forgets a
deadline, and no server has to remember it.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Collection
from typing import Protocol

from coredumpd.server.retention import listing

NOTE = "deleted.json"


class Store(Protocol):
    """The part of `store.interface.Store` that is needed here."""

    def read_note(self, namespace: str, pod_uid: str, name: str) -> bytes | None: ...
    def write_note(self, namespace: str, pod_uid: str, name: str, data: bytes) -> None: ...
    def delete_note(self, namespace: str, pod_uid: str, name: str) -> None: ...


class DeletedPods:
    """Reads and writes the notes. All raise StorageError."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def expired(
        self, namespace: str, dumps: list[listing.Stored], living: Collection[str], keep_s: float
    ) -> list[listing.Stored]:
        """Those of `dumps` whose pods were found deleted `keep_s` ago or earlier.

        `living`: the uids of the pods there are. Takes a note of pods that are deleted since.
        """
        expired: list[listing.Stored] = []
        for uid, dumps_of_pod in listing.by_pod(dumps).items():
            place = (namespace, uid, NOTE)
            note = await asyncio.to_thread(self._store.read_note, *place)
            if uid in living:
                if note is not None:  # seen as deleted once, by mistake
                    await asyncio.to_thread(self._store.delete_note, *place)
            elif (deleted_s := _deleted_s(note)) is None:
                data = json.dumps({"deletedAt": int(time.time())}).encode()
                await asyncio.to_thread(self._store.write_note, *place, data)
            elif time.time() - deleted_s >= keep_s:
                expired += dumps_of_pod
        return expired

    async def forget(self, namespace: str, pod_uid: str) -> None:
        """Remove the note of a pod that has no dumps any more. May be called twice."""
        await asyncio.to_thread(self._store.delete_note, namespace, pod_uid, NOTE)


def _deleted_s(note: bytes | None) -> float | None:
    """When the pod was found deleted; None without a note, or with one that cannot be read."""
    try:
        return float(json.loads(note or b"")["deletedAt"])
    except (ValueError, LookupError, TypeError):
        return None
