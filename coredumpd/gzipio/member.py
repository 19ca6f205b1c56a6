"""One chunk of a core as one gzip member (RFC 1952), and the totals of several members.

Members concatenate, so a capture that must end early, a disk that fills, a handler that is killed,
leaves whole members behind: cut the file after the last one and it is valid. And since no member
needs an earlier one, two threads can make them (spool/copier.py).

ISA-L (`isal`) is the one third-party import of the crash path.
"""

from __future__ import annotations

from isal import isal_zlib

CHUNK_BYTES = 1024 * 1024  # of input; what a full disk or a kill can cost at most, twice
_LEVEL = 1  # ISA-L's default: 0 takes 8 % less time for a core's heap, and 23 % more space
GZIP_WINDOW = 31  # zlib's convention: 15 bits of window, +16 for the gzip container
_TRAILER_BYTES = 8  # RFC 1952: CRC-32 and length of the member's input, little endian
_ZEROS = bytes(CHUNK_BYTES)


class Result:
    """Totals of stored members: `size` and `crc32` of the input, `stored_size` in bytes of gzip.

    The input's parts may come in any order; between them, and where `extend` says so, are zeros
    that are stored nowhere.
    """

    __slots__ = ("_part", "data_size", "members", "reason", "size", "sparse_size", "stored_size")

    def __init__(self) -> None:
        self.size = 0
        self.stored_size = 0
        self.data_size = 0  # of the input: bytes that are stored
        self.members = 0
        self.sparse_size = 0  # of the input: bytes in whole chunks of zeros
        self.reason: str | None = None  # why the core was cut short; None: it was not
        # CRC-32 is linear: this is the difference that the parts make to that of `size` zeros.
        self._part = 0

    @property
    def crc32(self) -> int:
        """CRC-32 of the input so far, its holes included."""
        return self._part ^ crc32_of_zeros(self.size)

    def add(self, size: int, stored_size: int, crc32: int) -> None:
        """Count one more gzip member, of the input that follows."""
        self.place(self.size, size, stored_size, crc32)

    def place(self, offset: int, size: int, stored_size: int, crc32: int) -> None:
        """Count one more gzip member, of the input's `size` bytes from `offset` on."""
        end = offset + size
        self.extend(end)
        part = crc32 ^ crc32_of_zeros(size)
        self._part ^= isal_zlib.crc32_combine(part, 0, self.size - end)
        self.data_size += size
        self.stored_size += stored_size
        self.members += 1

    def extend(self, size: int) -> None:
        """The input has at least `size` bytes: zeros, as far as no member has others."""
        if size > self.size:
            self._part = isal_zlib.crc32_combine(self._part, 0, size - self.size)
            self.size = size


def crc32_of_zeros(size: int) -> int:
    """The CRC-32 of `size` zeros, which are not made."""
    return int(isal_zlib.crc32_combine(0xFFFFFFFF, 0xFFFFFFFF, size))


def compress(chunk: bytes | memoryview) -> tuple[bytes, int]:
    """The member that holds `chunk`, and the CRC-32 of `chunk`. Gives up the GIL meanwhile."""
    data = isal_zlib.compress(chunk, _LEVEL, wbits=GZIP_WINDOW)
    return data, crc32_of(data)


def crc32_of(data: bytes) -> int:
    """The CRC-32 of a member's content: its trailer is the cheapest place to get it."""
    return int.from_bytes(data[-_TRAILER_BYTES:-4], "little")


def is_zeros(chunk: bytearray, size: int = CHUNK_BYTES) -> bool:
    """Are its first `size` bytes zeros? Costs nothing if not: it ends at the first other byte."""
    return chunk[0] == 0 and chunk.startswith(_ZEROS[:size])


_zeros: list[tuple[bytes, int]] = []  # made once, by the first core that has such a chunk


def of_zeros() -> tuple[bytes, int]:
    """`compress` of a whole chunk of zeros."""
    if not _zeros:
        _zeros.append(compress(_ZEROS))
    return _zeros[0]
