"""A core with an index, put together from the files of its dump."""

from __future__ import annotations

import os
import zlib
from pathlib import Path

from coredumpd.formats import core_index


def index(entry: Path) -> core_index.Index:
    """The index of a dump's directory."""
    return core_index.parse((entry / "core.index").read_bytes())


def unpack(entry: Path, target: Path) -> Path:
    """Write the core, holes as holes, to `target`."""
    with target.open("wb") as sink, (entry / "core.gz").open("rb") as source:
        parts = index(entry)
        for offset, size, stored_offset, stored_size in parts:
            source.seek(stored_offset)
            data = zlib.decompress(source.read(stored_size), 31)
            assert len(data) == size
            sink.seek(offset)
            sink.write(data)
        sink.truncate(parts.core_size)
    return target


def crc32(path: Path) -> int:
    """The CRC-32 of a file."""
    value = 0
    with path.open("rb") as file:
        while data := file.read(1 << 20):
            value = zlib.crc32(data, value)
    return value


def is_sparse(path: Path) -> bool:
    """Does a file take less space than its size?"""
    attributes = os.stat(path)
    return attributes.st_blocks * 512 < attributes.st_size
