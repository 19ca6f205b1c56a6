"""Which pages of a private anonymous range hold anything, from `/proc/PID/pagemap`.

Linux 6.7 answers the ioctl PAGEMAP_SCAN with ranges; before that, each page is a word of the file
(Documentation/admin-guide/mm/pagemap.rst). A page that is neither present nor swapped is a hole,
and so is one that is the kernel's page of zeros, which only PAGEMAP_SCAN recognises.

Tested in: tests/unit/handler/memory/test_pages.py
"""

from __future__ import annotations

import _ctypes
import errno
import fcntl
import os

from coredumpd.handler.sandbox import enter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_ARGUMENT_BYTES = 96  # struct pm_scan_arg, include/uapi/linux/fs.h
_WORD_BYTES = 8
_PRESENT, _SWAPPED, _ZERO_PAGE = 1 << 3, 1 << 4, 1 << 5  # PAGE_IS_*
_REGION_BYTES = 24  # struct page_region: start, end, categories
_REGIONS = 1024  # of one call
_PAGES = 8192  # words of one read
_NO_SCAN = (errno.ENOTTY, errno.EINVAL, errno.EPERM)
# In a word of the file: bit 63 present, bit 62 swapped.
_POPULATED_SHIFT = 62


class Pagemap:
    """Asks about pages; not for two threads at once."""

    def __init__(self, descriptor: int, scans: bool = True) -> None:
        """`descriptor` of `/proc/PID/pagemap`; `scans`: try PAGEMAP_SCAN."""
        self._descriptor = descriptor
        self._scans = scans
        self._page_bytes = os.sysconf("SC_PAGE_SIZE")
        regions = enter.pinned(bytes(_REGIONS * _REGION_BYTES))
        self._address = _ctypes.addressof(regions)
        self._regions = memoryview(regions).cast("B").cast("Q")
        self._words = bytearray(_PAGES * _WORD_BYTES)

    def populated(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        """The parts of a range of whole pages that hold anything, in order. Raises OSError."""
        if self._scans:
            try:
                yield from self._scan(start, end)
                return
            except _NoScanError:
                self._scans = False
        yield from self._read(start, end)

    def _scan(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        while start < end:
            # size, flags, start, end, walk_end, vec, vec_len, max_pages, then four masks: not the
            # page of zeros, and present or swapped; reported as one category, so that they merge.
            words = (
                *(_ARGUMENT_BYTES, 0, start, end, 0, self._address, _REGIONS, 0),
                *(_ZERO_PAGE, _ZERO_PAGE, _PRESENT | _SWAPPED, _ZERO_PAGE),
            )
            argument = bytearray(b"".join(word.to_bytes(_WORD_BYTES, "little") for word in words))
            try:
                count = fcntl.ioctl(self._descriptor, enter.PAGEMAP_SCAN, argument)
            except OSError as error:
                if error.errno in _NO_SCAN:
                    raise _NoScanError from error
                raise
            regions = self._regions[: 3 * count].tolist()
            yield from zip(regions[0::3], regions[1::3], strict=True)
            if count < _REGIONS:
                return
            # Not from walk_end, which Linux 6.18 was seen to leave where an inner buffer was full.
            start = regions[-2]

    def _read(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        page_bytes = self._page_bytes
        words = memoryview(self._words)
        numbers = words.cast("Q")
        while start < end:
            pages = min(_PAGES, (end - start) // page_bytes)
            size = os.preadv(
                self._descriptor,
                [words[: pages * _WORD_BYTES]],
                start // page_bytes * _WORD_BYTES,
            )
            pages = size // _WORD_BYTES
            if not pages:
                raise ProcessLookupError(errno.ESRCH, "the process is gone")
            if self._words.startswith(bytes(size)):
                start += pages * page_bytes
                continue
            first = None
            for number in range(pages):
                if numbers[number] >> _POPULATED_SHIFT:
                    first = number if first is None else first
                elif first is not None:
                    yield start + first * page_bytes, start + number * page_bytes
                    first = None
            if first is not None:
                yield start + first * page_bytes, start + pages * page_bytes
            start += pages * page_bytes


class _NoScanError(Exception):
    """This kernel has no PAGEMAP_SCAN."""
