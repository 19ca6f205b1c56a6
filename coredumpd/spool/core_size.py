"""The size of a core according to its own headers, to recognise one that was cut.

The kernel writes headers first (elf(5); `elf_core_dump` in fs/binfmt_elf.c): the file ends where
the last segment ends. Only four fields and the program headers are looked at, as numbers, never as
offsets into memory; only a 64-bit little-endian core has an expected size.
"""

from __future__ import annotations

_HEADER_BYTES = 64
_PROGRAM_HEADER_BYTES = 56
_SECTION_HEADER_BYTES = 64
_PN_XNUM = 0xFFFF  # more segments than e_phnum can count; then one section header ends the file


class Expectation:
    """Feed it the stream from the start until `wants_more` is false; then read `size`."""

    __slots__ = ("_head", "_needed", "size", "wants_more")

    def __init__(self) -> None:
        self._head = b""
        self._needed = _HEADER_BYTES
        self.wants_more = True
        self.size: int | None = None  # bytes; None when unknown

    def feed(self, chunk: bytes | memoryview) -> None:
        """Keep the part of `chunk` that is still needed; at most 3.7 MB in all."""
        rest = memoryview(chunk)
        while self.wants_more:
            piece = rest[: self._needed - len(self._head)]
            self._head += piece
            rest = rest[len(piece) :]
            if len(self._head) < self._needed:
                return
            self._advance()

    def _advance(self) -> None:
        if self._needed == _HEADER_BYTES and (count := self._program_headers()):
            self._needed += count * _PROGRAM_HEADER_BYTES
            return
        if self._needed > _HEADER_BYTES:
            self.size = self._last_end()
        self.wants_more = False
        self._head = b""

    def _program_headers(self) -> int:
        """Number of program headers to read; 0 when the size is known without, or not knowable."""
        head = self._head
        if head[:7] != b"\x7fELF\x02\x01\x01" or self._number(54, 2) != _PROGRAM_HEADER_BYTES:
            return 0
        count = self._number(56, 2)
        if count == _PN_XNUM:
            self.size = self._number(40, 8) + _SECTION_HEADER_BYTES
            return 0
        return count if self._number(32, 8) == _HEADER_BYTES else 0

    def _last_end(self) -> int:
        starts = range(_HEADER_BYTES, self._needed, _PROGRAM_HEADER_BYTES)
        return max(self._number(start + 8, 8) + self._number(start + 32, 8) for start in starts)

    def _number(self, offset: int, width: int) -> int:
        return int.from_bytes(self._head[offset : offset + width], "little")
