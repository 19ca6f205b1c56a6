"""Lay out the archive of some dumps: its segments, its length and its ETag.

Pure: records and sizes in, segments out. The layout is a promise of docs/formats.md: the same dumps
give the same bytes, so a length, an ETag and any byte offset mean the same in every reply.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from collections.abc import Iterable
from typing import NamedTuple

from coredumpd import errors
from coredumpd.archive import sparse, ustar
from coredumpd.formats import core_index, layout
from coredumpd.formats import record as records
from coredumpd.gzipio import stored

META = layout.META


@dataclasses.dataclass(frozen=True)
class Dump:
    """A dump to archive; `stored_size` is the length of its core.gz in the store, bytes.

    `index`: that of the core, if its record has one.
    """

    key: layout.DumpKey
    record: records.CrashRecord
    stored_size: int
    index: core_index.Index | None = None


@dataclasses.dataclass(frozen=True)
class Framing:
    """Bytes made here: a gzip member with headers, metadata and padding."""

    data: bytes

    @property
    def size(self) -> int:
        return len(self.data)


class Piece(NamedTuple):
    """`size` bytes: of core.gz from `offset` on, untouched, or `data` again and again."""

    size: int
    offset: int = 0
    data: bytes = b""


@dataclasses.dataclass(frozen=True)
class StoredCore:
    """`size` bytes, made of pieces of a dump's core.gz, whose length is `stored_size`."""

    key: layout.DumpKey
    stored_size: int
    pieces: tuple[Piece, ...]

    @functools.cached_property
    def size(self) -> int:
        return sum(piece.size for piece in self.pieces)


@dataclasses.dataclass(frozen=True)
class Plan:
    """An archive: its segments in order, its exact `length` in bytes and its strong `etag`."""

    segments: tuple[Framing | StoredCore, ...]
    length: int
    etag: str
    dumps: tuple[Dump, ...]


def plan(dumps: Iterable[Dump], *, holes: bool = True) -> Plan:
    """The archive of `dumps`, oldest first; without `holes`, those of cores are written as zeros.

    Raises StorageError when a core.gz is not as long as its record says: its tar header would lie.
    """
    ordered = tuple(sorted(dumps, key=_age))
    segments: list[Framing | StoredCore] = []
    digest = hashlib.sha256(b"coredumpd archive 2\n")
    carried = b""  # padding that the next framing starts with
    for dump in ordered:
        _verify(dump)
        mtime = dump.record.time_s
        directory = f"{dump.key.container}/{dump.key.id}"
        meta = dump.record.encode()
        core_size, _ = dump.record.content
        head, pieces = _core(dump, f"{directory}/{dump.record.core_name}", mtime, holes)
        framing = stored.member(
            b"".join(
                (
                    carried,
                    ustar.header(f"{directory}/{META}", len(meta), mtime),
                    meta,
                    ustar.padding(len(meta)),
                    head,
                )
            )
        )
        carried = ustar.padding(core_size)
        core = StoredCore(dump.key, dump.stored_size, pieces)
        segments += (Framing(framing), core)
        # meta.json carries the core's size and CRC, so hashing what we make names the content too.
        digest.update(f"{dump.key} {core.size} {len(framing)}\n".encode())
        digest.update(framing)
    segments.append(Framing(stored.member(carried + ustar.END)))
    length = sum(segment.size for segment in segments)
    return Plan(tuple(segments), length, f'"{digest.hexdigest()[:40]}"', ordered)


def core_alone(dump: Dump) -> Plan:
    """The archive of a core without its meta.json, as the file `core`."""
    size = dump.record.size
    head, pieces = _core(dump, dump.record.core_name, dump.record.time_s, holes=True)
    segments = (
        Framing(stored.member(head)),
        StoredCore(dump.key, dump.stored_size, pieces),
        Framing(stored.member(ustar.padding(size) + ustar.END)),
    )
    return Plan(segments, sum(segment.size for segment in segments), "", (dump,))


def _core(dump: Dump, name: str, mtime: int, holes: bool) -> tuple[bytes, tuple[Piece, ...]]:
    """The tar header of the core, and its bytes in the archive."""
    index = dump.index
    if index is None:
        size, _ = dump.record.content
        return ustar.header(name, size, mtime), (Piece(dump.stored_size),)
    if holes and index.holes:
        runs = tuple(Piece(size, offset) for offset, size in sparse.runs(index))
        return sparse.head(name, index, mtime), runs
    pieces: list[Piece] = []
    for zeros_before, offset, size in sparse.pieces(index):
        for data, count in sparse.hole(zeros_before):
            pieces.append(Piece(len(data) * count, data=data))
        if size:
            pieces.append(Piece(size, offset))
    return ustar.header(name, index.core_size, mtime), tuple(pieces)


def _age(dump: Dump) -> tuple[int, str, str]:
    return (dump.record.time_s, dump.key.container, dump.key.id)


def _verify(dump: Dump) -> None:
    expected = dump.record.stored_size
    core_index.expect(dump.record, dump.index)
    if dump.stored_size != expected:
        raise errors.StorageError(
            f"{dump.key}: core.gz is {dump.stored_size} bytes, its meta.json says {expected}"
        )
