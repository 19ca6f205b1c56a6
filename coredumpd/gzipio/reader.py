"""Gzip members in, their content out: counted, checked, and never much of it in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from isal import isal_zlib

from coredumpd.gzipio import member

_ISIZE_BYTES = 4  # RFC 1952: a member ends with its length, modulo 2^32, little endian


class DamagedError(Exception):
    """The bytes are not gzip, or do not have the CRC or the length that their member states."""


def one(data: bytes, size: int) -> bytes:
    """The `size` bytes that one gzip member, `data`, decompresses to. Raises DamagedError."""
    inflate = isal_zlib.decompressobj(member.GZIP_WINDOW)
    try:
        content = inflate.decompress(data, size + 1)
    except isal_zlib.error as error:  # type: ignore[misc]  # its stub declares an instance
        raise DamagedError(str(error)) from error
    length = int.from_bytes(data[-_ISIZE_BYTES:], "little")
    if not inflate.eof or inflate.unused_data or not len(content) == length == size:
        raise DamagedError(f"it is no gzip member of {size} bytes")
    return content


class Reader:
    """Reads concatenated gzip members as their bytes arrive; pieces may be cut anywhere."""

    _size: int  # of the unfinished member: bytes of content, their CRC-32,
    _crc32: int
    _stored_size: int  # bytes that were read of it, and the last of them
    _tail: bytes

    def __init__(
        self,
        piece_bytes: int = member.CHUNK_BYTES,
        on_member: Callable[[int, int, int], None] = lambda *_: None,
    ) -> None:
        """`piece_bytes`: the most content that is in memory at a time.

        `on_member` is called at the end of each member with its size, stored size and CRC-32.
        """
        self._piece_bytes = piece_bytes
        self._on_member = on_member
        self.whole = member.Result()  # the members that have ended
        self._begin_member()

    @property
    def size(self) -> int:
        """Bytes of content so far, those of an unfinished member included."""
        return self.whole.size + self._size

    @property
    def crc32(self) -> int:
        """CRC-32 of these bytes."""
        return isal_zlib.crc32_combine(self.whole.crc32, self._crc32, self._size)

    @property
    def cut(self) -> bool:
        """Has a member begun that has not ended?"""
        return self._stored_size > 0

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield all content that `data` completes. It must be iterated to its end.

        Raises DamagedError; what was readable before the damage has been yielded then.
        """
        pending = False  # the inflater has output that needs no more input
        while data or pending:
            try:
                piece = self._inflate.decompress(data, self._piece_bytes)
            except isal_zlib.error as error:  # type: ignore[misc]  # its stub declares an instance
                raise DamagedError(str(error)) from error
            ended = self._inflate.eof
            rest = self._inflate.unused_data if ended else self._inflate.unconsumed_tail
            consumed = len(data) - len(rest)
            self._tail = (self._tail + data[:consumed][-_ISIZE_BYTES:])[-_ISIZE_BYTES:]
            self._stored_size += consumed
            self._size += len(piece)
            self._crc32 = isal_zlib.crc32(piece, self._crc32)
            if piece:
                yield piece
            pending = len(piece) == self._piece_bytes and not ended
            data = rest
            if ended:
                self._end_member()

    def count(self, data: bytes) -> None:
        """As `feed`, for a caller that wants only size and CRC. Raises DamagedError."""
        for _ in self.feed(data):
            pass

    def _begin_member(self) -> None:
        self._inflate = isal_zlib.decompressobj(member.GZIP_WINDOW)
        self._size = self._stored_size = self._crc32 = 0
        self._tail = b""

    def _end_member(self) -> None:
        """ISA-L has compared the member's CRC, but not its length."""
        if int.from_bytes(self._tail, "little") != self._size % 2**32:
            raise DamagedError("a member's length is off")
        self.whole.add(self._size, self._stored_size, self._crc32)
        self._on_member(self._size, self._stored_size, self._crc32)
        self._begin_member()
