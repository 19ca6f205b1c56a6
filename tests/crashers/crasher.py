"""Crashes the interpreter for real, from a function named crash_here: python3 crasher.py [MIB]."""

from __future__ import annotations

import ctypes
import sys


def crash_here() -> None:
    ctypes.string_at(0)


if __name__ == "__main__":
    heap = [b"%d" % number * 1024 for number in range(int((sys.argv[1:] or ["1"])[0]) * 200)]
    crash_here()
