"""What the kernel's log says from now on, as /dev/kmsg escapes it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator

_RECORD_BYTES_MAX = 8192


@contextlib.contextmanager
def following() -> Iterator[Callable[[], list[str]]]:
    """Call what it gives for the records that were written since the last call."""
    log = os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK)
    os.lseek(log, 0, os.SEEK_END)

    def records() -> list[str]:
        found = []
        with contextlib.suppress(BlockingIOError):
            while True:
                found.append(os.read(log, _RECORD_BYTES_MAX).decode("utf-8", "replace"))
        return found

    yield records
    os.close(log)
