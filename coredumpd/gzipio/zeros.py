"""The CRC-32 of zeros, without making them: a core with holes has the CRC of the whole core.

No dataclasses, typing or re: the crash path imports this module.
"""

from __future__ import annotations

from isal import isal_zlib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

_powers = [isal_zlib.crc32(b"\0")]  # of 1, 2, 4, 8 … zeros, as many as were asked for so far


def crc32(size: int) -> int:
    """The CRC-32 of `size` zeros, in steps of the logarithm of `size`."""
    return after(0, size)


def after(before: int, size: int) -> int:
    """The CRC-32 of bytes whose CRC-32 is `before`, followed by `size` zeros."""
    if size < 0:
        raise ValueError(f"{size} zeros")
    power = 0
    while size >> power:
        if power == len(_powers):
            half = _powers[-1]
            _powers.append(isal_zlib.crc32_combine(half, half, 1 << (power - 1)))
        if size >> power & 1:
            before = isal_zlib.crc32_combine(before, _powers[power], 1 << power)
        power += 1
    return before


def crc32_of_core(parts: Iterable[tuple[int, int, int]], core_size: int) -> int:
    """The CRC-32 of a core from (offset, bytes, CRC-32) of its parts, in order; the rest is holes.

    Raises ValueError for parts that overlap or lie beyond `core_size`.
    """
    end = total = 0
    for offset, size, part in parts:
        total = isal_zlib.crc32_combine(after(total, offset - end), part, size)
        end = offset + size
    return after(total, core_size - end)
