"""Lay out the archive of some dumps: its segments, its length and its ETag.

Pure: records and sizes in, segments out. The layout is a promise of docs/formats.md: the same dumps
give the same bytes, so a length, an ETag and any byte offset mean the same in every reply.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterable

from coredumpd import errors
from coredumpd.archive import ustar
from coredumpd.formats import layout
from coredumpd.formats import record as records
from coredumpd.gzipio import stored

META, CORE, SEALED = "meta.json", "core", "core.gz.age"  # names in a dump's directory


@dataclasses.dataclass(frozen=True)
class Dump:
    """A dump to archive; `stored_size` is the length of its core.gz in the store, bytes."""

    key: layout.DumpKey
    record: records.CrashRecord
    stored_size: int


@dataclasses.dataclass(frozen=True)
class Framing:
    """Bytes made here: a gzip member with headers, metadata and padding."""

    data: bytes

    @property
    def size(self) -> int:
        return len(self.data)


@dataclasses.dataclass(frozen=True)
class StoredCore:
    """`size` bytes of a dump's core.gz, passed through untouched."""

    key: layout.DumpKey
    size: int


@dataclasses.dataclass(frozen=True)
class Plan:
    """An archive: its segments in order, its exact `length` in bytes and its strong `etag`."""

    segments: tuple[Framing | StoredCore, ...]
    length: int
    etag: str
    dumps: tuple[Dump, ...]


def plan(dumps: Iterable[Dump]) -> Plan:
    """The archive of `dumps`, oldest first.

    Raises StorageError when a core.gz is not as long as its record says: its tar header would lie.
    """
    ordered = tuple(sorted(dumps, key=_age))
    segments: list[Framing | StoredCore] = []
    digest = hashlib.sha256(b"coredumpd archive 1\n")
    carried = b""  # padding that the next framing starts with
    for dump in ordered:
        _verify(dump)
        mtime = dump.record.time_s
        directory = f"{dump.key.container}/{dump.key.id}"
        meta = dump.record.encode()
        core_size, _ = dump.record.content
        core_name = SEALED if dump.record.sealed else CORE
        framing = stored.member(
            b"".join(
                (
                    carried,
                    ustar.header(f"{directory}/{META}", len(meta), mtime),
                    meta,
                    ustar.padding(len(meta)),
                    ustar.header(f"{directory}/{core_name}", core_size, mtime),
                )
            )
        )
        carried = ustar.padding(core_size)
        segments += (Framing(framing), StoredCore(dump.key, dump.stored_size))
        # meta.json carries the core's size and CRC, so hashing what we make names the content too.
        digest.update(f"{dump.key} {dump.stored_size} {len(framing)}\n".encode())
        digest.update(framing)
    segments.append(Framing(stored.member(carried + ustar.END)))
    length = sum(segment.size for segment in segments)
    return Plan(tuple(segments), length, f'"{digest.hexdigest()[:40]}"', ordered)


def _age(dump: Dump) -> tuple[int, str, str]:
    return (dump.record.time_s, dump.key.container, dump.key.id)


def _verify(dump: Dump) -> None:
    expected = dump.record.stored_size
    if dump.stored_size != expected:
        raise errors.StorageError(
            f"{dump.key}: core.gz is {dump.stored_size} bytes, its meta.json says {expected}"
        )
