"""A core with holes in an archive: GNU tar's sparse format 1.0, or its holes as zeros. Pure.

GNU tar manual, "Storing Sparse Files" (PAX format, version 1.0): a pax header names the file and
its real size, the file's content begins with the map of its data, in decimal, one number a line,
padded to a block; then follows the data alone. Readers that do not know it (busybox) would unpack
map and data as the file.
"""

from __future__ import annotations

from collections.abc import Iterator

from coredumpd.archive import ustar
from coredumpd.formats import core_index
from coredumpd.gzipio import zeros


def head(name: str, index: core_index.Index, mtime: int) -> bytes:
    """All blocks that precede the data of the sparse file `name`: headers and map."""
    extents = list(index.extents())
    end = sum(extents[-1])
    if end < index.core_size:
        extents.append((index.core_size, 0))  # as GNU tar ends a file that ends in a hole
    numbers = [len(extents), *(number for extent in extents for number in extent)]
    map_data = "".join(f"{number}\n" for number in numbers).encode()
    map_data += ustar.padding(len(map_data))
    directory, _, base = name.rpartition("/")
    records = {
        "GNU.sparse.major": "1",
        "GNU.sparse.minor": "0",
        "GNU.sparse.name": name,
        "GNU.sparse.realsize": str(index.core_size),
    }
    size = len(map_data) + index.data_size
    shown = f"{directory}/GNUSparseFile.0/{base}"  # by readers that do not know the format
    return ustar.header(shown, size, mtime, records) + map_data


def runs(index: core_index.Index) -> Iterator[tuple[int, int]]:
    """(offset, bytes) of the pieces of core.gz whose members hold the data in the core's order."""
    return core_index.joined((offset, size) for _, _, offset, size in index)


def pieces(index: core_index.Index) -> Iterator[tuple[int, int, int]]:
    """(zeros before, offset, bytes) of the pieces of core.gz; last, the zeros at the end, 0, 0."""
    start = stored_end = core_end = hole = 0
    first = True
    for offset, size, stored_offset, stored_size in index:
        if first or offset != core_end or stored_offset != stored_end:
            if not first:
                yield hole, start, stored_end - start
            first, hole, start = False, offset - core_end, stored_offset
        core_end, stored_end = offset + size, stored_offset + stored_size
    yield hole, start, stored_end - start
    if core_end < index.core_size:
        yield index.core_size - core_end, 0, 0


def hole(size: int) -> Iterator[tuple[bytes, int]]:
    """(gzip member, how often) that decompress to `size` zeros."""
    count, rest = divmod(size, zeros.MEMBER_BYTES)
    if count:
        yield zeros.member(zeros.MEMBER_BYTES), count
    if rest:
        yield zeros.member(rest), 1
