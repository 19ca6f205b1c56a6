"""A sparse file in an archive, GNU tar's format 1.0, while it is received: map first, then data.

Every number comes from the network: the map is bounded, in order, and within the file.
"""

from __future__ import annotations

from typing import Protocol

from coredumpd import errors
from coredumpd.formats import core_index

_BLOCK = 512
_DIGITS_MAX = 19
_EXTENTS_MAX = core_index.ENTRIES_MAX + 1
_MAJOR, _MINOR = b"GNU.sparse.major", b"GNU.sparse.minor"
_NAME, _SIZE = b"GNU.sparse.name", b"GNU.sparse.realsize"


class Sink(Protocol):
    """The destination of a file with holes."""

    def write(self, data: bytes, /) -> object: ...
    def skip(self, size: int, /) -> None: ...


def file_of(pax: bytes) -> tuple[str, int] | None:
    """Name, without directories, and size of the sparse file that a pax header announces.

    None for a pax header of another file. Raises StorageError.
    """
    records = {}
    while pax:
        length_text, _, _ = pax[: _DIGITS_MAX + 1].partition(b" ")
        length = _number(length_text)
        record = pax[len(length_text) + 1 : length]
        keyword, equals, value = record.removesuffix(b"\n").partition(b"=")
        if not equals or not record.endswith(b"\n") or length > len(pax):
            raise _bad()
        records[keyword] = value
        pax = pax[length:]
    if _MAJOR not in records:
        return None
    if (records[_MAJOR], records.get(_MINOR)) != (b"1", b"0"):
        raise _bad()
    name = records.get(_NAME, b"").rpartition(b"/")[2].decode("ascii", "replace")
    return name, _number(records.get(_SIZE, b""))


class Placer:
    """Takes the content of a sparse file of `size` bytes; `sink` gets data and holes, in order."""

    def __init__(self, sink: Sink, size: int, real_size: int) -> None:
        self._sink = sink
        self._left = size  # bytes that are still to come
        self._real_size = real_size
        self._map = bytearray()  # until it is whole
        self._lines = 0
        self._extents: list[tuple[int, int]] | None = None  # the next one last
        self._room = 0  # bytes of the present extent that are missing
        self._position = 0  # in the file

    def write(self, data: bytes) -> None:
        """The next bytes. Raises StorageError for a map that breaks a rule, and as the sink."""
        view = memoryview(data)
        self._left -= len(data)
        while view:
            if self._extents is None:
                missing = _BLOCK - len(self._map) % _BLOCK
                piece, view = view[:missing], view[missing:]
                self._map += piece
                self._lines += bytes(piece).count(b"\n")
                if len(self._map) % _BLOCK == 0:
                    self._read_map(self._left + len(view))
                continue
            piece, view = view[: self._room], view[self._room :]
            self._sink.write(bytes(piece))
            self._room -= len(piece)
            self._position += len(piece)
            if not self._room:
                self._next_extent()
        if self._extents is None and not self._left:
            raise _bad()

    def _read_map(self, data_size: int) -> None:
        """Take the map once it is whole; `data_size` bytes follow it."""
        if not self._lines:
            raise _bad()
        count = _number(bytes(self._map[: _DIGITS_MAX + 1]).partition(b"\n")[0])
        if not 0 < count <= _EXTENTS_MAX or len(self._map) > (2 * count + 1) * 20 + _BLOCK:
            raise _bad()
        if self._lines < 2 * count + 1:
            return
        numbers = [_number(line) for line in bytes(self._map).split(b"\n")[1 : 2 * count + 1]]
        extents = list(zip(numbers[::2], numbers[1::2], strict=True))
        end = 0
        for offset, size in extents:
            if offset < end:
                raise _bad()
            end = offset + size
        if end > self._real_size or sum(numbers[1::2]) != data_size:
            raise _bad()
        self._map.clear()
        self._extents = [extent for extent in reversed(extents) if extent[1]]
        self._next_extent()

    def _next_extent(self) -> None:
        offset, self._room = self._real_size, 0
        if self._extents:
            offset, self._room = self._extents.pop()
        if offset > self._position:
            self._sink.skip(offset - self._position)
            self._position = offset


def _number(text: bytes) -> int:
    if not text.isdigit() or len(text) > _DIGITS_MAX:
        raise _bad()
    return int(text)


def _bad() -> errors.StorageError:
    return errors.StorageError("what came is no archive of a dump: its sparse file is damaged")
