"""Read a planned archive from any byte: blocking, in chunks, one core open at a time."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Protocol

from coredumpd import errors
from coredumpd.archive import plan as plans
from coredumpd.formats import layout

CHUNK_BYTES = 256 * 1024


class Core(Protocol):
    """An open core.gz. `read_at` blocks, and may return fewer than `size` bytes, b"" at the end."""

    @property
    def size(self) -> int: ...
    def read_at(self, offset: int, size: int) -> bytes: ...
    def close(self) -> None: ...


OpenCore = Callable[[layout.DumpKey], Core]


def read(
    plan: plans.Plan, open_core: OpenCore, offset: int = 0, end: int | None = None
) -> Iterator[bytes]:
    """Bytes `offset` to `end` (exclusive; the archive's own end when None), chunk by chunk.

    Raises StorageError when a core is gone, or is not the length that was planned: the caller must
    then cut the reply, since a length has been promised.
    """
    stop = plan.length if end is None else end
    start = 0
    for segment in plan.segments:
        first, last = max(offset - start, 0), min(stop - start, segment.size)
        start += segment.size
        if first >= last:
            continue
        match segment:
            case plans.Framing(data):
                yield data[first:last]
            case plans.StoredCore(key, size):
                yield from _core(open_core, key, size, first, last)


def _core(
    open_core: OpenCore, key: layout.DumpKey, size: int, first: int, last: int
) -> Iterator[bytes]:
    with contextlib.closing(open_core(key)) as core:
        if core.size != size:
            raise errors.StorageError(f"{key}: core.gz is {core.size} bytes, {size} were planned")
        while first < last:
            chunk = core.read_at(first, min(CHUNK_BYTES, last - first))
            if not chunk:
                raise errors.StorageError(f"{key}: core.gz ended at byte {first} of {size}")
            first += len(chunk)
            yield chunk
