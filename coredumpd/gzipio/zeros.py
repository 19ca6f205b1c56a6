"""Zeros that are not made: the CRC-32 of a core with holes, and their gzip."""

from __future__ import annotations

from collections.abc import Iterable

from isal import isal_zlib

from coredumpd.gzipio import member as members


def after(before: int, size: int) -> int:
    """The CRC-32 of bytes whose CRC-32 is `before`, followed by `size` zeros."""
    if size < 0:
        raise ValueError(f"{size} zeros")
    return int(isal_zlib.crc32_combine(before, members.crc32_of_zeros(size), size))


def crc32_of_core(parts: Iterable[tuple[int, int, int]], core_size: int) -> int:
    """The CRC-32 of a core from (offset, bytes, CRC-32) of its parts, in order; the rest is holes.

    Raises ValueError for parts that overlap or lie beyond `core_size`.
    """
    end = total = 0
    for offset, size, part in parts:
        total = isal_zlib.crc32_combine(after(total, offset - end), part, size)
        end = offset + size
    return after(total, core_size - end)


# A deflate block (RFC 1951, 3.2.7) with a code for zeros alone: 0 is 2 bits, "the 258 bytes before
# again" 1 bit and its distance 1 bit, the end 2 bits. So 1032 zeros are one byte of zeros.
MEMBER_BYTES = 64 * 1024 * 1024  # the most zeros in one member: 65 KB
_MATCH = 258
_GZIP = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"


def member(size: int) -> bytes:
    """A gzip member of `size` zeros, at least one; the same bytes from any version of any zlib."""
    matches, literals = divmod(size - 1, _MATCH)
    bits = _Bits()
    bits.add(0b1, 1)  # the last block
    bits.add(0b10, 2)  # with codes of its own:
    bits.add(286 - 257, 5)  # for literals, the end and lengths,
    bits.add(0, 5)  # one distance,
    bits.add(18 - 4, 4)  # and 18 lengths of codes of the code of lengths, in the order of the RFC
    for symbol in (16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1):
        bits.add({18: 1, 1: 2, 2: 2}.get(symbol, 0), 3)
    one, two, absent = (0b01, 2), (0b11, 2), (0b0, 1)  # codes go out with their first bit first
    bits.add(*two)  # of the literal 0
    for repeated in (138, 255 - 138):
        bits.add(*absent)
        bits.add(repeated - 11, 7)
    bits.add(*two)  # of the end, 256
    bits.add(*absent)
    bits.add(28 - 11, 7)
    bits.add(*one)  # of the length 258, 285
    bits.add(*one)  # of the distance 1
    for _ in range(1 + literals):
        bits.add(0b01, 2)
    bits.add(0, 2 * matches)
    bits.add(0b11, 2)
    trailer = members.crc32_of_zeros(size).to_bytes(4, "little") + (size % 2**32).to_bytes(
        4, "little"
    )
    return _GZIP + bits.data() + trailer


class _Bits:
    """Bits, the first one lowest in the first byte."""

    def __init__(self) -> None:
        self._value = self._length = 0

    def add(self, value: int, length: int) -> None:
        self._value |= value << self._length
        self._length += length

    def data(self) -> bytes:
        return self._value.to_bytes(-(-self._length // 8), "little")
