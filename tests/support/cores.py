"""Cores made by hand: as small as a test wants, with headers that are true."""

from __future__ import annotations

import random
import struct


def elf(size: int, seed: int = 0) -> bytes:
    """A core of `size` bytes (at least 4096): one LOAD segment of noise."""
    ident = b"\x7fELF\x02\x01\x01" + bytes(9)
    header = struct.pack(
        "<16sHHIQQQIHHHHHH", ident, 4, 62, 1, 0, 64, 0, 0, 64, 56, 1, 0, 0, 0
    ) + struct.pack("<IIQQQQQQ", 1, 6, 4096, 0, 0, size - 4096, size - 4096, 4096)
    return header.ljust(4096, b"\0") + random.Random(seed).randbytes(size - 4096)
