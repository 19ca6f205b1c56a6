"""Which pages hold anything: asked of this process's own pagemap, in both ways."""

from __future__ import annotations

import ctypes
import mmap
import os
from collections.abc import Iterator

import pytest

from coredumpd.handler.memory import pages

PAGE = mmap.PAGESIZE


@pytest.fixture(params=[True, False], ids=["PAGEMAP_SCAN", "pagemap"])
def pagemap(request: pytest.FixtureRequest) -> Iterator[pages.Pagemap]:
    descriptor = os.open("/proc/self/pagemap", os.O_RDONLY)
    yield pages.Pagemap(descriptor, request.param)
    os.close(descriptor)


def touched(pagemap: pages.Pagemap, size: int, numbers: range) -> list[int]:
    """The pages that hold anything, of `size` bytes of which `numbers` were written."""
    with mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory:
        memory.madvise(mmap.MADV_NOHUGEPAGE)
        for number in numbers:
            memory[number * PAGE] = 1
        holder = ctypes.c_char.from_buffer(memory)
        start = ctypes.addressof(holder)
        parts = list(pagemap.populated(start, start + size))
        del holder
    assert parts == sorted(parts)
    return [
        page
        for first, last in parts
        for page in range((first - start) // PAGE, (last - start) // PAGE)
    ]


@pytest.mark.parametrize(
    ("size", "numbers"),
    [
        (PAGE, range(0)),
        (PAGE, range(1)),
        (64 << 20, range(5, 9)),
        (1 << 30, range(0, 1 << 18, 70_001)),
        # More parts than one answer has, and than an inner buffer of the kernel's.
        (40 << 20, range(0, 10_240, 2)),
    ],
)
def test_the_pages_that_were_written_are_the_ones(
    pagemap: pages.Pagemap, size: int, numbers: range
) -> None:
    assert touched(pagemap, size, numbers) == list(numbers)


def test_a_kernel_without_the_scan_is_read_page_by_page(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object) -> int:
        raise OSError(25, "Inappropriate ioctl for device")

    monkeypatch.setattr("fcntl.ioctl", unknown)
    descriptor = os.open("/proc/self/pagemap", os.O_RDONLY)
    assert touched(pages.Pagemap(descriptor), 1 << 20, range(3, 5)) == [3, 4]
    os.close(descriptor)
