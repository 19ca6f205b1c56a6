"""A file that is received: holes for its zeros, never more bytes than announced, and a CRC-32."""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Iterator

from coredumpd import errors
from coredumpd.gzipio import zeros

BLOCK_BYTES = 4096  # file systems allocate at least this much
_ZEROS = bytes(BLOCK_BYTES)


class SparseFile:
    """Writes a new, empty file. A block of zeros, aligned to its size, is skipped, not written."""

    def __init__(self, descriptor: int, size_max: int, spend: Callable[[int], None]) -> None:
        """`spend` is called with a number of bytes before these take space on the disk."""
        self._descriptor = descriptor
        self._size_max = size_max
        self._spend = spend
        self._offset = 0  # of the first byte in `_rest`
        self._rest = b""  # less than a block
        self.size = self.crc32 = 0

    def write(self, data: bytes) -> None:
        """Append `data`. Raises StorageError beyond `size_max`, OSError, and as `spend` does."""
        self.size += len(data)
        if self.size > self._size_max:
            raise errors.StorageError(f"more came than the {self._size_max} bytes announced")
        self.crc32 = zlib.crc32(data, self.crc32)
        data = self._rest + data
        end = len(data) - len(data) % BLOCK_BYTES
        self._put(data, end)
        self._rest = data[end:]

    def skip(self, size: int) -> None:
        """Append `size` zeros, as a hole. Raises as `write`."""
        self.size += size
        if self.size > self._size_max:
            raise errors.StorageError(f"more came than the {self._size_max} bytes announced")
        self.crc32 = zeros.after(self.crc32, size)
        self._put(self._rest, len(self._rest))
        self._rest = b""
        self._offset += size

    def end(self) -> None:
        """Write the last bytes; the file then has its size, even if it ends in a hole."""
        self._put(self._rest, len(self._rest))
        self._rest = b""
        os.ftruncate(self._descriptor, self.size)

    @property
    def content(self) -> tuple[int, str]:
        """As `record.CrashRecord.content`."""
        return self.size, f"{self.crc32:08x}"

    def _put(self, data: bytes, end: int) -> None:
        view = memoryview(data)
        for first, last in runs(data, end):
            self._spend(last - first)
            while first < last:
                first += os.pwrite(self._descriptor, view[first:last], self._offset + first)
        self._offset += end


def runs(data: bytes, end: int) -> Iterator[tuple[int, int]]:
    """The parts of `data[:end]`, as (first, last + 1), that are not whole blocks of zeros."""
    first = None
    for block in range(0, end, BLOCK_BYTES):
        if data.startswith(_ZEROS, block, end):
            if first is not None:
                yield first, block
                first = None
        elif first is None:
            first = block
    if first is not None:
        yield first, end
