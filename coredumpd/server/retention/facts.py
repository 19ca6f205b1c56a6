"""Facts that only a dump's record tells: the namespace's uid, a pin, and who vouches for its pod.

A record does not change, so what was read once is remembered. Blocks.

Tested in: tests/unit/server/retention/test_collector.py
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterable
from typing import Protocol

from coredumpd import cache, errors, parallel
from coredumpd.formats import layout
from coredumpd.formats import record as records

_REMEMBERED_MAX = 50_000
_THREADS = 16  # a bucket answers one small object in tens of milliseconds


class Store(Protocol):
    """The part of `store.interface.Store` that is needed here."""

    def read_record(self, key: layout.DumpKey) -> records.CrashRecord: ...


@dataclasses.dataclass(frozen=True, slots=True)
class Fact:
    """Of one dump. `namespace_uid` None: nobody could prove in which namespace it crashed."""

    namespace_uid: str | None
    pinned: bool
    unproven: bool


class Facts:
    """For one thread at a time."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._facts = cache.recent(_REMEMBERED_MAX)

    def of(self, keys: Iterable[layout.DumpKey]) -> dict[layout.DumpKey, Fact]:
        """Facts by key, without dumps that are gone or unreadable. Raises StorageError."""
        keys = list(keys)
        facts: dict[layout.DumpKey, Fact] = {}
        for key in keys:
            if (fact := self._facts.get(key)) is not None:
                facts[key] = fact
        missing = [key for key in keys if key not in facts]
        for key, read in parallel.each(self._read, missing, _THREADS) if missing else ():
            if read is not None:
                facts[key] = self._facts[key] = read
        return facts

    def _read(self, key: layout.DumpKey) -> Fact | None:
        try:
            record = self._store.read_record(key)
        except (errors.NotFound, errors.BadRecord):
            return None  # gone, or for `store check`
        uid = record.namespace_uid
        unproven = uid is None or record.attribution == records.UNPROVEN
        return Fact(uid and sys.intern(uid), record.is_pinned, unproven)
