"""Which dumps are being read by this server: the collector takes others first."""

from __future__ import annotations

import collections
import threading
from typing import Any

from coredumpd.archive import stream
from coredumpd.formats import layout
from coredumpd.store import interface


class Watched:
    """A store that counts its open cores; everything else passes through."""

    def __init__(self, engine: interface.Store) -> None:
        self._engine = engine
        self._lock = threading.Lock()
        self._open: collections.Counter[layout.DumpKey] = collections.Counter()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def open_core(self, key: layout.DumpKey) -> stream.Core:
        """See `store.Store.open_core`."""
        core = self._engine.open_core(key)
        with self._lock:
            self._open[key] += 1
        return _Core(core, self, key)

    def in_use(self) -> set[layout.DumpKey]:
        """Dumps with an open core now."""
        with self._lock:
            return set(self._open)

    def closed(self, key: layout.DumpKey) -> None:
        """One reader less."""
        with self._lock:
            self._open[key] -= 1
            if not self._open[key]:
                del self._open[key]


class _Core:
    def __init__(self, core: interface.Core, watched: Watched, key: layout.DumpKey) -> None:
        self.size = core.size
        self.read_at = core.read_at
        self._core = core
        self._watched: Watched | None = watched
        self._key = key

    def close(self) -> None:
        """See `store.Core.close`."""
        self._core.close()
        if self._watched is not None:
            self._watched.closed(self._key)
            self._watched = None
