"""Which dumps are being read by this server: the collector removes others first."""

from __future__ import annotations

import collections
import threading

from coredumpd.formats import layout
from coredumpd.store import interface


class CountingStore:
    """A store that counts its open cores. It has the methods that a server needs and no others."""

    def __init__(self, store: interface.Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._open: collections.Counter[layout.DumpKey] = collections.Counter()
        self.commit = store.commit
        self.list = store.list
        self.scan = store.scan
        self.read_note = store.read_note
        self.write_note = store.write_note
        self.delete_note = store.delete_note
        self.read_record = store.read_record
        self.delete = store.delete
        self.files = store.files
        self.open_file = store.open_file
        self.free_bytes = store.free_bytes

    def open_core(self, key: layout.DumpKey) -> interface.Core:
        """See `interface.Store.open_core`."""
        core = self._store.open_core(key)
        with self._lock:
            self._open[key] += 1
        return _Core(core, self, key)

    def in_use(self) -> set[layout.DumpKey]:
        """Dumps with an open core now."""
        with self._lock:
            return set(self._open)

    def closed(self, key: layout.DumpKey) -> None:
        """One of the open cores of `key` was closed."""
        with self._lock:
            self._open[key] -= 1
            if not self._open[key]:
                del self._open[key]


class _Core:
    def __init__(self, core: interface.Core, counts: CountingStore, key: layout.DumpKey) -> None:
        self.size = core.size
        self.read_at = core.read_at
        self._core = core
        self._counts: CountingStore | None = counts
        self._key = key

    def close(self) -> None:
        """See `interface.Core.close`."""
        self._core.close()
        if self._counts is not None:
            self._counts.closed(self._key)
            self._counts = None
