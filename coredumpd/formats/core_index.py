"""`core.index`: where each part of a core lies in core.gz, and where the core has holes.

    header   32 bytes: magic, version, bytes of an entry, bytes of the core, 8 zeros
    entry    24 bytes: offset in the core, bytes there; offset in core.gz, bytes there: one member
    trailer  32 bytes: magic, bytes of core.gz, entries, 4 zeros, CRC-32 of all before it

All numbers are little endian. What no entry covers is a hole: zeros that are stored nowhere. The
entries are in the order of the core; the members may lie in core.gz in another one. Together they
are the whole core.gz. A hole begins and ends at multiples of BLOCK, as tar's sparse files need,
or at the end of the core.

A capture appends header and entries in the order of core.gz while it runs, and replaces the file by
a whole index in the end. So the file of a killed capture has no trailer, but as many entries as
were written: `recover`.

No dataclasses, typing or re: the crash path imports this module.
"""

from __future__ import annotations

import struct
import zlib

from coredumpd import errors

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from coredumpd.formats import record as records

    # offset in the core, bytes of it, offset of the member in core.gz, bytes of the member
    Entry = tuple[int, int, int, int]

VERSION = 1
BLOCK = 512
MEMBER_BYTES_MAX = 4 * 1024 * 1024  # of the core: what a reader has in memory for one byte of it
_STORED_MAX = MEMBER_BYTES_MAX + MEMBER_BYTES_MAX // 64  # deflate adds 5 bytes to each 64 KiB
ENTRIES_MAX = 256 * 1024  # 1 TiB of data in the largest members; beyond: merge across small holes
CORE_BYTES_MAX = 2**62  # an address space has at most 2^57; tar, HTTP and lseek(2) count to 2^63

_MAGIC, _END = b"coreidx\n", b"coreend\n"
_HEADER = struct.Struct("<8sIIQQ")
_ENTRY = struct.Struct("<QIQI")
_TRAILER = struct.Struct("<8sQQII")
_CRC_BYTES = 4
BYTES_MAX = _HEADER.size + ENTRIES_MAX * _ENTRY.size + _TRAILER.size


class Index:
    """A whole index. Iterating it gives its entries, in the order of the core."""

    __slots__ = ("_entries", "core_size", "crc32", "data", "stored_size")

    def __init__(self, data: bytes, core_size: int, stored_size: int, crc32: int) -> None:
        self.data = data  # as the file holds it
        self.core_size = core_size  # bytes, holes included
        self.stored_size = stored_size  # bytes of core.gz
        self.crc32 = crc32
        self._entries = memoryview(data)[_HEADER.size : -_TRAILER.size]

    def __len__(self) -> int:
        return len(self._entries) // _ENTRY.size

    def __iter__(self) -> Iterator[Entry]:
        return _ENTRY.iter_unpack(self._entries)

    @property
    def data_size(self) -> int:
        """Bytes of the core that are stored: all but the holes."""
        return sum(size for _, size, _, _ in self)

    @property
    def holes(self) -> int:
        """How many holes the core has."""
        extents, end = 0, 0
        for offset, size in self.extents():
            extents += 1 if offset else 0
            end = offset + size
        return extents + (1 if end < self.core_size else 0)

    def extents(self) -> Iterator[tuple[int, int]]:
        """(offset, bytes) of each part of the core between two holes, in order."""
        return joined((offset, size) for offset, size, _, _ in self)

    def covering(self, first: int, end: int) -> Iterator[Entry]:
        """The entries that hold a byte of the core from `first` to `end` (exclusive)."""
        low, high = 0, len(self)
        while low < high:  # the first entry that ends after `first`
            middle = (low + high) // 2
            offset, size, _, _ = _ENTRY.unpack_from(self._entries, middle * _ENTRY.size)
            if offset + size <= first:
                low = middle + 1
            else:
                high = middle
        for each in _ENTRY.iter_unpack(self._entries[low * _ENTRY.size :]):
            if each[0] >= end or first >= end:
                return
            yield each


def joined(parts: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """(offset, bytes) of `parts`, at least one; those that follow one another become one."""
    start = end = 0
    for offset, size in parts:
        if offset != end:
            if end > start:
                yield start, end - start
            start = offset
        end = offset + size
    yield start, end - start


def header(core_size: int = 0) -> bytes:
    """The beginning of a file; `core_size` in bytes as far as a capture knows it yet, else 0."""
    return _HEADER.pack(_MAGIC, VERSION, _ENTRY.size, core_size, 0)


def entry(offset: int, size: int, stored_offset: int, stored_size: int) -> bytes:
    """One entry, to append: see `Entry`."""
    return _ENTRY.pack(offset, size, stored_offset, stored_size)


def build(core_size: int, entries: Iterable[Entry]) -> Index:
    """The index of a core of `core_size` bytes; `entries` in any order, at least one.

    Raises BadRecord for entries that `parse` would refuse.
    """
    in_order = sorted(entries)
    body = b"".join([header(core_size), *(_ENTRY.pack(*each) for each in in_order)])
    stored_size = sum(each[3] for each in in_order)
    data = body + _TRAILER.pack(_END, stored_size, len(in_order), 0, 0)[:-_CRC_BYTES]
    return parse(data + zlib.crc32(data).to_bytes(_CRC_BYTES, "little"))


def parse(data: bytes) -> Index:
    """The index that is `data`. Raises BadRecord naming the first rule that it breaks."""
    core_size = _parse_header(data)
    if len(data) < _HEADER.size + _TRAILER.size:
        raise _bad(f"{len(data)} bytes; it is cut")
    end, stored_size, count, zero, crc32 = _TRAILER.unpack_from(data, len(data) - _TRAILER.size)
    if end != _END or zero != 0:
        raise _bad("it has no trailer: it is cut, or of a capture that has not ended")
    if not 0 < count <= ENTRIES_MAX:
        raise _bad(f"{count} entries; there must be 1 to {ENTRIES_MAX}")
    if len(data) != _HEADER.size + count * _ENTRY.size + _TRAILER.size:
        raise _bad(f"{len(data)} bytes do not hold {count} entries")
    if zlib.crc32(memoryview(data)[:-_CRC_BYTES]) != crc32:
        raise _bad("its CRC-32 is off")
    index = Index(data, core_size, stored_size, crc32)
    _check_core(index)
    _check_stored(index)
    return index


def of_record(record: records.CrashRecord, data: bytes | None) -> Index | None:
    """The index that `data` is, the content of core.index; None where `record` has none.

    Raises BadRecord for another index than that of the record.
    """
    if record.index is None:
        return None
    if data is None:
        raise errors.BadRecord(f"{record.id}: core.index is missing")
    parsed = parse(data)
    expect(record, parsed)
    return parsed


def expect(record: records.CrashRecord, index: Index | None) -> None:
    """Raises BadRecord unless `index` is the one that `record` describes."""
    if record.index is None or index is None:
        if index is not None or record.index is not None:
            have, has = ("an", "no") if index is None else ("no", "an")
            raise errors.BadRecord(f"{record.id}: the record has {have} index, the core {has} one")
        return
    problems = differences(
        {
            "index.size": record.index["size"],
            "index.crc32": record.index["crc32"],
            "size": record.size,
            "storedSize": record.stored_size,
        },
        {
            "index.size": len(index.data),
            "index.crc32": f"{index.crc32:08x}",
            "size": index.core_size,
            "storedSize": index.stored_size,
        },
    )
    if problems:
        raise errors.BadRecord(f"{record.id}: core.index is of another core: {problems}")


def differences(expected: dict[str, object], actual: dict[str, object]) -> str:
    """Which of the values differ, as a clause for people; "" if none does."""
    return "; ".join(
        f"{name} is {value}, meta.json says {expected[name]}"
        for name, value in actual.items()
        if expected[name] != value
    )


def recover(data: bytes) -> tuple[int, list[Entry]]:
    """(bytes of the core as far as its header says, entries) of a file that may be cut.

    The entries are those that follow one another in core.gz from its start, in that order; what
    comes after the first that does not is left out. Raises BadRecord for a file of another kind.
    """
    core_size = _parse_header(data)
    entries: list[Entry] = []
    end = 0
    whole = (len(data) - _HEADER.size) // _ENTRY.size * _ENTRY.size
    for each in _ENTRY.iter_unpack(memoryview(data)[_HEADER.size : _HEADER.size + whole]):
        if each[2] != end or _broken_rule(each) or len(entries) == ENTRIES_MAX:
            break
        entries.append(each)
        end += each[3]
    return core_size, entries


def _parse_header(data: bytes) -> int:
    if len(data) > BYTES_MAX:
        raise _bad(f"{len(data)} bytes; at most {BYTES_MAX}")
    if len(data) < _HEADER.size or not data.startswith(_MAGIC):
        raise _bad("it does not begin as an index does")
    _, version, entry_bytes, core_size, zero = _HEADER.unpack_from(data)
    if (version, entry_bytes, zero) != (VERSION, _ENTRY.size, 0):
        raise _bad(f"version {version}; this coredumpd reads {VERSION}")
    if core_size > CORE_BYTES_MAX:
        raise _bad(f"a core of {core_size} bytes; at most {CORE_BYTES_MAX}")
    return int(core_size)


def _check_core(index: Index) -> None:
    """The parts of the core: in order, apart from one another, and holes where tar allows them."""
    end = 0
    for each in index:
        rule = _broken_rule(each)
        if rule is not None:
            raise _bad(rule)
        offset = each[0]
        if offset < end:
            raise _bad(f"the entry of byte {offset} overlaps the one before it, or comes too late")
        if offset != end and (offset % BLOCK or end % BLOCK):
            raise _bad(f"the hole from {end} to {offset} is no multiple of {BLOCK} bytes")
        end = offset + each[1]
    if end > index.core_size:
        raise _bad(f"entries up to byte {end} of a core of {index.core_size} bytes")
    if end < index.core_size and end % BLOCK:
        raise _bad(f"the hole from {end} on does not begin at a multiple of {BLOCK}")


def _check_stored(index: Index) -> None:
    """The members: one after the other, from the first byte of core.gz to the last."""
    end = 0
    for offset, size in sorted((each[2], each[3]) for each in index):
        if offset != end:
            raise _bad(f"no member, or two, at byte {min(offset, end)} of core.gz")
        end = offset + size
    if end != index.stored_size:
        raise _bad(f"members of {end} bytes in a core.gz of {index.stored_size}")


def _broken_rule(each: Entry) -> str | None:
    offset, size, _, stored_size = each
    if not 0 < size <= MEMBER_BYTES_MAX:
        return f"a member of {size} bytes of core; there must be 1 to {MEMBER_BYTES_MAX}"
    if not 0 < stored_size <= _STORED_MAX:
        return f"a member of {stored_size} bytes of core.gz; there must be 1 to {_STORED_MAX}"
    if offset + size > CORE_BYTES_MAX:
        return f"byte {offset + size} of a core; at most {CORE_BYTES_MAX}"
    return None


def _bad(problem: str) -> errors.BadRecord:
    return errors.BadRecord(f"core.index: {problem}")
