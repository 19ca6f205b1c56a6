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
            case plans.StoredCore():
                yield from _core(open_core, segment, first, last)


def _core(open_core: OpenCore, segment: plans.StoredCore, first: int, last: int) -> Iterator[bytes]:
    key, size = segment.key, segment.stored_size
    with contextlib.closing(open_core(key)) as core:
        if core.size != size:
            raise errors.StorageError(f"{key}: core.gz is {core.size} bytes, {size} were planned")
        start = 0
        for piece in segment.pieces:
            low, high = max(first - start, 0), min(last - start, piece.size)
            start += piece.size
            if low >= high:
                continue
            yield from (
                _repeated(piece.data, low, high)
                if piece.data
                else _stored(core, key, piece.offset + low, piece.offset + high)
            )


def _stored(core: Core, key: layout.DumpKey, first: int, last: int) -> Iterator[bytes]:
    """Bytes `first` to `last` (exclusive) of core.gz."""
    while first < last:
        chunk = core.read_at(first, min(CHUNK_BYTES, last - first))
        if not chunk:
            raise errors.StorageError(f"{key}: core.gz ended at byte {first} of {core.size}")
        first += len(chunk)
        yield chunk


def _repeated(data: bytes, first: int, last: int) -> Iterator[bytes]:
    """Bytes `first` to `last` (exclusive) of `data`, written again and again."""
    while first < last:
        low = first % len(data)
        chunk = data[low : low + last - first]
        first += len(chunk)
        yield chunk
