"""A core in a bucket, read through a moving window with read-ahead; no temporary file."""

from __future__ import annotations

import threading
from concurrent import futures

import obstore

from coredumpd import errors
from coredumpd.store.bucket import clouds

_FIRST_BYTES = 256 * 1024  # small, so that the first byte comes early
_WINDOW_BYTES = 4 * 1024 * 1024  # two are in memory: the one being read and the next


class WindowedCore:
    """See `interface.Core`. Reads the object of one ETag. Raises FileNotFoundError."""

    def __init__(self, store: str, objects: clouds.Objects, path: str) -> None:
        self._store = store
        self._objects = objects
        self._path = path
        self._lock = threading.Lock()
        self._ahead: tuple[int, futures.Future[bytes]] | None = None
        self._pool: futures.ThreadPoolExecutor | None = None
        meta = obstore.head(objects, path)
        self.size = meta["size"]
        self._etag = meta["e_tag"]
        self._start, self._data = 0, b""

    def read_at(self, offset: int, size: int) -> bytes:
        """See `interface.Core.read_at`. Reading in order finds the next window fetched already."""
        end = min(offset + size, self.size)
        pieces = []
        with self._lock:
            while offset < end:
                self._move_to(offset)
                piece = self._data[offset - self._start : end - self._start]
                pieces.append(piece)
                offset += len(piece)
        return b"".join(pieces)

    def close(self) -> None:
        """See `interface.Core.close`."""
        with self._lock:
            self._ahead, self._data = None, b""
            if self._pool is not None:
                self._pool.shutdown(wait=False, cancel_futures=True)
                self._pool = None

    def _move_to(self, offset: int) -> None:
        if self._start <= offset < self._start + len(self._data):
            return
        in_order = offset == self._start + len(self._data)
        if self._ahead is not None and self._ahead[0] == offset:
            fetched, self._ahead = self._ahead[1], None
            data = fetched.result()
        else:
            data = self._fetch(offset, _WINDOW_BYTES if self._data and in_order else _FIRST_BYTES)
        self._start, self._data = offset, data
        following = offset + len(data)
        if in_order and following < self.size:
            if self._pool is None:
                self._pool = futures.ThreadPoolExecutor(1, "store-read-ahead")
            ahead = self._pool.submit(self._fetch, following, _WINDOW_BYTES)
            self._ahead = (following, ahead)

    def _fetch(self, offset: int, size: int) -> bytes:
        end = min(offset + size, self.size)
        with clouds.translated(self._store, None):
            answer = obstore.get(
                self._objects,
                self._path,
                options={"range": (offset, end), "if_match": self._etag},
            )
            data = bytes(answer.bytes())
        if len(data) != end - offset:
            raise errors.StorageError(
                f"{self._store}: {self._path}: asked for {end - offset} bytes, got {len(data)}"
            )
        return data
