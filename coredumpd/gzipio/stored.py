"""Gzip members made on the fly, of stored (uncompressed) deflate blocks.

RFC 1952 lets members be concatenated and RFC 1951 lets a block hold its bytes as they are, so these
members depend on no compressor: the same bytes from any zlib version, and a length known before
the first byte is made.
"""

from __future__ import annotations

import struct
import zlib

_HEADER = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"  # deflate, no flags, mtime 0, OS unknown
_BLOCK_BYTES_MAX = 0xFFFF


def member(data: bytes) -> bytes:
    """One gzip member that decompresses to `data`; 23 bytes longer per started 64 KiB."""
    parts = [_HEADER]
    starts = range(0, len(data), _BLOCK_BYTES_MAX) if data else range(1)
    for start in starts:
        block = data[start : start + _BLOCK_BYTES_MAX]
        final = start + _BLOCK_BYTES_MAX >= len(data)
        parts.append(struct.pack("<BHH", final, len(block), len(block) ^ 0xFFFF))
        parts.append(block)
    parts.append(struct.pack("<II", zlib.crc32(data), len(data) & 0xFFFFFFFF))
    return b"".join(parts)
