"""Unpack the archive of one dump while it is received. Pure but for the caller's sinks.

Names in the archive never become paths: only `meta.json`, `core`, `core.gz.age` and
`core.tar.gz.age` are accepted (docs/formats.md, "The archive").
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from coredumpd import errors
from coredumpd.download import sparse_map
from coredumpd.formats import layout
from coredumpd.gzipio import reader

META, CORE = layout.META, layout.PLAIN_CORE
_NAMES = (META, CORE, layout.SEALED_CORE, layout.SEALED_TAR)
_BLOCK = 512
_PAX_BYTES_MAX = 64 * 1024
_FRAMING_BYTES_MAX = 1024 * 1024  # of headers, padding and zeros around the files


class Sink(Protocol):
    """The destination of a file's bytes."""

    def write(self, data: bytes, /) -> object: ...


class SparseSink(Sink, Protocol):
    """One that can have holes."""

    def skip(self, size: int, /) -> None: ...


def opened(name: str, core: SparseSink) -> Sink:
    """The sink of what an age file called `name` holds: what is written to it becomes `core`."""
    return Gunzip(core) if name == layout.SEALED_CORE else _Feed(Unpacker(lambda *_: core))


class _Feed:
    """An `Unpacker` as a sink."""

    def __init__(self, unpacker: Unpacker) -> None:
        self._unpacker = unpacker

    def write(self, data: bytes) -> None:
        self._unpacker.feed(data)


class Gunzip:
    """gzip members, decompressed into `sink` in pieces of bounded size."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._reader = reader.Reader()

    @property
    def whole(self) -> bool:
        """Are all members so far complete?"""
        return not self._reader.cut

    def write(self, data: bytes) -> None:
        """The next bytes. Raises StorageError for bytes that are not gzip, and as the sink does."""
        try:
            for piece in self._reader.feed(data):
                self._sink.write(piece)
        except reader.DamagedError as error:
            raise errors.StorageError(f"what came is no gzip: {error}") from error


class Unpacker:
    """Feed it the archive; `begin(name, size)` gives the sink of each file."""

    def __init__(self, begin: Callable[[str, int], SparseSink]) -> None:
        self._begin = begin
        self._gunzip = Gunzip(self)
        self._header = bytearray()
        self._sink: Sink | None = None
        self._left = 0  # bytes of the current file that are missing
        self._skip = 0  # bytes of padding
        self._pax: bytearray | None = None  # a pax header that is being read
        self._pax_left = 0
        self._sparse: tuple[str, int] | None = None  # name and size of the sparse file that follows
        self._framing = 0  # bytes that belong to no file
        self._zeros = 0  # blocks of zeros: two end an archive

    @property
    def done(self) -> bool:
        """Is the archive complete?"""
        return self._zeros >= 2 and self._gunzip.whole

    def feed(self, data: bytes) -> None:
        """The next bytes of the .tar.gz. Raises StorageError when it is no archive of ours."""
        self._gunzip.write(data)

    def write(self, data: bytes) -> None:
        """The next bytes of the tar."""
        view = memoryview(data)
        while view:
            if self._left and self._sink is not None:
                piece, view = view[: self._left], view[self._left :]
                self._sink.write(bytes(piece))
                self._left -= len(piece)
            elif self._pax is not None and self._pax_left:
                piece, view = view[: self._pax_left], view[self._pax_left :]
                self._pax += piece
                self._pax_left -= len(piece)
                self._count(len(piece))
                if not self._pax_left:
                    self._sparse = sparse_map.file_of(bytes(self._pax))
                    self._pax = None
            elif self._skip:
                skipped = min(self._skip, len(view))
                self._skip -= skipped
                view = view[skipped:]
                self._count(skipped)
            else:
                missing = _BLOCK - len(self._header)
                self._header += view[:missing]
                view = view[missing:]
                self._count(missing)
                if len(self._header) == _BLOCK:
                    self._head(bytes(self._header))
                    self._header.clear()

    def _count(self, size: int) -> None:
        self._framing += size
        if self._framing > _FRAMING_BYTES_MAX:
            raise errors.StorageError("what came is no archive of one dump: too much around it")

    def _head(self, block: bytes) -> None:
        if not any(block):
            self._zeros += 1
            return
        kind, size = block[156:157], _size(block)
        padding = -size % _BLOCK
        if kind == b"x" and size <= _PAX_BYTES_MAX:
            self._pax, self._pax_left, self._skip = bytearray(), size, padding
            return
        name = block[:100].rstrip(b"\0").rpartition(b"/")[2].decode("ascii", "replace")
        if kind != b"0" or self._zeros or name not in _NAMES:
            raise errors.StorageError("what came is no archive of a dump")
        self._left, self._skip = size, padding
        if self._sparse is None:
            self._sink = self._begin(name, size)
        else:
            name, real_size = self._sparse
            if name != CORE:
                raise errors.StorageError("what came is no archive of a dump")
            self._sink = sparse_map.Placer(self._begin(name, real_size), size, real_size)
            self._sparse = None


def _size(block: bytes) -> int:
    """The size field: octal, or base 256 above 8 GiB. Raises StorageError."""
    field = block[124:136]
    if field[0] == 0x80:
        return int.from_bytes(field[1:], "big")
    try:
        return int(field.rstrip(b"\0 "), 8)
    except ValueError as error:
        raise errors.StorageError("what came is no archive of a dump") from error
