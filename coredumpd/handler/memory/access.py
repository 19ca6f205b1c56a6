"""A dying process's memory: the descriptors, opened before the sandbox, and reads from them.

The process waits for its core to be taken, so its memory stays until the stream is closed. Of what
cannot be read the kernel's own core has zeros too (`dump_user_range` in fs/coredump.c): a file
truncated below its mapping, a guard page, [vvar].

Tested in: tests/unit/handler/memory/test_source.py
"""

from __future__ import annotations

import errno
import os

from coredumpd.handler.memory import mappings, pages

PAGE_BYTES = 4096  # the smallest of any machine
_UNREADABLE = (errno.EIO, errno.EFAULT)
_READ_BYTES = 64 * 1024
_OFFSET_MAX = 2**63  # pread(2) takes no larger one; the page [vsyscall] is beyond
_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW


class GoneError(Exception):
    """The process was killed, and its memory with it."""


class Memory:
    """One process's memory. `read` is for several threads, all else for one at a time."""

    def __init__(self, directory: int, tid: int) -> None:
        """`directory` is its pinned /proc/PID, `tid` the thread that crashed. Raises OSError."""
        # Not the main thread's: it may have gone before.
        self._mem = os.open(f"task/{tid}/mem", _FLAGS, dir_fd=directory)
        try:
            self.pagemap = os.open(f"task/{tid}/pagemap", _FLAGS, dir_fd=directory)
            self._maps = os.open(f"task/{tid}/maps", _FLAGS, dir_fd=directory)
        except OSError:
            os.close(self._mem)
            raise
        self.pages = pages.Pagemap(self.pagemap)

    def mappings(self) -> mappings.Mappings:
        """The process's mappings, read once. Raises OSError."""
        read = mappings.Mappings()
        while data := os.read(self._maps, _READ_BYTES):
            read.feed(data)
        return read

    def read(self, address: int, buffer: memoryview) -> None:
        """Fill `buffer` from `address` on; zeros for pages that cannot be read.

        Raises GoneError once the process is gone.
        """
        filled = 0
        while filled < len(buffer):
            at = address + filled
            try:
                count = os.preadv(self._mem, [buffer[filled:]], at) if at < _OFFSET_MAX else None
            except OSError as error:
                if error.errno not in _UNREADABLE:
                    raise
                count = None
            if count == 0:
                raise GoneError
            if count is None:
                count = min(PAGE_BYTES - at % PAGE_BYTES, len(buffer) - filled)
                buffer[filled : filled + count] = bytes(count)
            filled += count

    def check_life(self) -> None:
        """Raises GoneError once the process is gone: then its pages have looked like holes."""
        try:
            self.probe(0)
        except OSError as error:
            if error.errno not in _UNREADABLE:
                raise

    def probe(self, address: int) -> None:
        """Read one page. Raises OSError where there is none, and GoneError."""
        if not os.preadv(self._mem, [bytearray(PAGE_BYTES)], address):
            raise GoneError
