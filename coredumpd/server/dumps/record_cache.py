"""Records of dumps, remembered: a meta.json is written once, before its dump can be seen."""

from __future__ import annotations

import collections
import concurrent.futures
import logging
import threading
import time
from collections.abc import Callable, Sequence

from coredumpd import errors
from coredumpd.formats import layout
from coredumpd.formats import record as records

BYTES_MAX = 64 * 1024 * 1024
TRUST_S = 60.0  # a later analysis may add to a record; so long it may be missed in a listing
_THREADS = 16  # a bucket answers one small object in tens of milliseconds
_ALONE_MAX = 4  # so few are not worth handing out
_log = logging.getLogger(__name__)


class Records:
    """Thread-safe. What is not remembered is read by `read`, which may raise StorageError."""

    def __init__(self, read: Callable[[layout.DumpKey], records.CrashRecord]) -> None:
        self._read = read
        self._lock = threading.Lock()
        self._known: collections.OrderedDict[layout.DumpKey, tuple[float, bytes]]
        self._known = collections.OrderedDict()
        self._bytes = 0
        self._threads = concurrent.futures.ThreadPoolExecutor(_THREADS, "records")

    def read(self, keys: Sequence[layout.DumpKey]) -> dict[layout.DumpKey, records.CrashRecord]:
        """Records by key, in the order of `keys`; what is gone or unreadable is left out."""
        found = {key: self.remembered(key) for key in keys}
        missing = [key for key, crash in found.items() if crash is None]
        mapped = self._threads.map if len(missing) > _ALONE_MAX else map
        for key, crash in zip(missing, mapped(self._fetch, missing), strict=True):
            found[key] = crash
        return {key: crash for key, crash in found.items() if crash is not None}

    def remembered(self, key: layout.DumpKey) -> records.CrashRecord | None:
        """Without reading."""
        with self._lock:
            until, data = self._known.get(key, (0.0, b""))
            if time.monotonic() >= until:
                return None
            self._known.move_to_end(key)
        return records.CrashRecord.parse(data)

    def close(self) -> None:
        """Read no more."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _fetch(self, key: layout.DumpKey) -> records.CrashRecord | None:
        try:
            crash = self._read(key)
        except errors.NotFound:
            return None  # deleted since it was listed
        except errors.BadRecord as error:
            _log.warning("unreadable dump skipped: %s: %s", key, error)
            return None
        data = crash.encode()
        with self._lock:
            self._bytes += len(data) - len(self._known.pop(key, (0.0, b""))[1])
            self._known[key] = (time.monotonic() + TRUST_S, data)
            while self._bytes > BYTES_MAX:
                _, (_, dropped) = self._known.popitem(last=False)
                self._bytes -= len(dropped)
        return crash
