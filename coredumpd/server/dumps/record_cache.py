"""Records of dumps, remembered: a meta.json is written once, before its dump can be seen."""

from __future__ import annotations

import concurrent.futures
import logging
import threading
import time
from collections.abc import Callable, MutableMapping, Sequence

from coredumpd import cache, errors
from coredumpd.formats import layout
from coredumpd.formats import record as records

BYTES_MAX = 64 * 1024 * 1024
TRUST_S = 60.0  # a later analysis may add to a record; a listing may lack it for this long
_THREADS = 16  # a bucket answers one small object in tens of milliseconds
_ALONE_MAX = 4  # as few as these are read by the caller's thread, one after the other
_log = logging.getLogger(__name__)

# Reads one record. May raise NotFound, BadRecord, and StorageError, which `RecordCache` passes on.
Read = Callable[[layout.DumpKey], records.CrashRecord]


class RecordCache:
    """Thread-safe."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._lock = threading.Lock()
        self._documents: MutableMapping[layout.DumpKey, bytes]
        self._documents = cache.expiring_bytes(BYTES_MAX, TRUST_S, clock)
        self._threads = concurrent.futures.ThreadPoolExecutor(_THREADS, "records")

    def read(
        self, keys: Sequence[layout.DumpKey], read: Read
    ) -> dict[layout.DumpKey, records.CrashRecord]:
        """Records by key, in the order of `keys`, without those that are gone or unreadable.

        What is not remembered is read by `read`.
        """
        found = {key: self.remembered(key) for key in keys}
        missing = [key for key, record in found.items() if record is None]
        run = self._threads.map if len(missing) > _ALONE_MAX else map
        fetched = run(lambda key: self._fetch(key, read), missing)
        for key, record in zip(missing, fetched, strict=True):
            found[key] = record
        return {key: record for key, record in found.items() if record is not None}

    def remembered(self, key: layout.DumpKey) -> records.CrashRecord | None:
        """Without reading."""
        with self._lock:
            data = self._documents.get(key)
        return None if data is None else records.CrashRecord.parse(data)

    def close(self) -> None:
        """Read no more."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _fetch(self, key: layout.DumpKey, read: Read) -> records.CrashRecord | None:
        try:
            record = read(key)
            document = record.encode()
        except errors.NotFound:
            return None  # deleted since it was listed
        except errors.BadRecord as error:
            _log.warning("unreadable dump skipped: %s: %s", key, error)
            return None
        with self._lock:
            self._documents[key] = document
        return record
