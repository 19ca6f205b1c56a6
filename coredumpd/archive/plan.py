"""Lay out the archive of some dumps: what is where, how long it is, what it is called.

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
    """One dump to put in: `stored_size` is the length of its core.gz as the store has it, bytes."""

    key: layout.DumpKey
    record: records.CrashRecord
    stored_size: int


@dataclasses.dataclass(frozen=True)
class Made:
    """Bytes made here: a gzip member with headers, metadata and padding."""

    data: bytes

    @property
    def size(self) -> int:
        return len(self.data)


@dataclasses.dataclass(frozen=True)
class Stored:
    """`size` bytes of a dump's core.gz, passed through untouched."""

    key: layout.DumpKey
    size: int


@dataclasses.dataclass(frozen=True)
class Plan:
    """An archive: its segments in order, its exact `length` in bytes and its strong `etag`."""

    segments: tuple[Made | Stored, ...]
    length: int
    etag: str
    dumps: tuple[Dump, ...]


def plan(dumps: Iterable[Dump]) -> Plan:
    """The archive of `dumps`, oldest first.

    Raises StorageError when a core.gz is not as long as its record says: its tar header would lie.
    """
    ordered = tuple(sorted(dumps, key=_age))
    segments: list[Made | Stored] = []
    names = hashlib.sha256(b"coredumpd archive 1\n")
    carried = b""  # padding that the next made member starts with
    for dump in ordered:
        _verify(dump)
        mtime = dump.record.time_s
        directory = f"{dump.key.container}/{dump.key.id}"
        meta = dump.record.encode()
        core_size, _ = dump.record.content
        core_name = SEALED if dump.record.sealed else CORE
        made = stored.stored(
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
        segments += (Made(made), Stored(dump.key, dump.stored_size))
        # meta.json carries the core's size and CRC, so hashing what we make names the content too.
        names.update(f"{dump.key} {dump.stored_size} {len(made)}\n".encode())
        names.update(made)
    segments.append(Made(stored.stored(carried + ustar.END)))
    length = sum(segment.size for segment in segments)
    return Plan(tuple(segments), length, f'"{names.hexdigest()[:40]}"', ordered)


def _age(dump: Dump) -> tuple[int, str, str]:
    return (dump.record.time_s, dump.key.container, dump.key.id)


def _verify(dump: Dump) -> None:
    expected = dump.record.raw["core"]["storedSize"]
    if dump.stored_size != expected:
        raise errors.StorageError(
            f"{dump.key}: core.gz is {dump.stored_size} bytes, its meta.json says {expected}"
        )
