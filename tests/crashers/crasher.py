"""Crashes the interpreter for real, from a function named crash_here: python3 crasher.py [MIB]."""

from __future__ import annotations

import ctypes
import sys


def crash_here() -> None:
    ctypes.string_at(0)


if __name__ == "__main__":
    heap = [b"%d" % number * 1024 for number in range(int((sys.argv[1:] or ["1"])[0]) * 200)]
    # The markers of heap.h, made at run time here too.
    heap.insert(0, b"tra-pmuderoc-yek"[::-1] * 64)
    heap.append(b"dne-pmuderoc-yek"[::-1] * 64)
    crash_here()
