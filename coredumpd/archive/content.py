"""A core itself, the bytes of the process, from any byte: only the members that hold them are read.

A core without an index has to be decompressed from its start. Blocking, in chunks.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from coredumpd import errors
from coredumpd.archive import stream
from coredumpd.formats import core_index, layout
from coredumpd.gzipio import reader

_ZEROS = bytes(stream.CHUNK_BYTES)


def read(
    open_core: stream.OpenCore,
    key: layout.DumpKey,
    index: core_index.Index | None,
    first: int,
    end: int,
) -> Iterator[bytes]:
    """Bytes `first` to `end` (exclusive) of the core `key`; an empty chunk while none is reached.

    Raises StorageError for a core that is gone, cut or damaged: the reply must then be cut.
    """
    with contextlib.closing(open_core(key)) as core:
        try:
            if index is None:
                yield from _from_start(core, first, end)
            else:
                yield from _by_index(core, index, first, end)
        except reader.DamagedError as error:
            raise errors.StorageError(f"{key}: core.gz is damaged: {error}") from error


def _by_index(core: stream.Core, index: core_index.Index, first: int, end: int) -> Iterator[bytes]:
    for offset, size, stored_offset, stored_size in index.covering(first, end):
        yield from _hole(offset - first)
        first = max(first, offset)
        content = memoryview(reader.one(_exactly(core, stored_offset, stored_size), size))
        last = min(end, offset + size)
        for start in range(first - offset, last - offset, stream.CHUNK_BYTES):
            yield bytes(content[start : min(start + stream.CHUNK_BYTES, last - offset)])
        first = last
    yield from _hole(end - first)


def _hole(size: int) -> Iterator[bytes]:
    while size > 0:
        yield _ZEROS[:size]
        size -= len(_ZEROS)


def _exactly(core: stream.Core, offset: int, size: int) -> bytes:
    data = bytearray()
    while len(data) < size and (piece := core.read_at(offset + len(data), size - len(data))):
        data += piece
    return bytes(data)


def _from_start(core: stream.Core, first: int, end: int) -> Iterator[bytes]:
    members = reader.Reader(stream.CHUNK_BYTES)
    position = stored = 0
    while position < end:
        data = core.read_at(stored, stream.CHUNK_BYTES)
        if not data:
            raise reader.DamagedError(f"it ended at byte {position}")
        stored += len(data)
        for piece in members.feed(data):
            low = max(first - position, 0)
            high = min(end - position, len(piece))
            position += len(piece)
            yield piece[low:high] if low < high else b""
            if position >= end:
                return
