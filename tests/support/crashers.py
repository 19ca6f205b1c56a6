"""Compile the programs of tests/crashers, once per session and directory."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SOURCES = Path(__file__).resolve().parent.parent / "crashers"
PYTHON = SOURCES / "crasher.py"
# What crasher.c writes at the two ends of its heap, at run time only.
HEAP_MARKERS = (b"key-coredump-art", b"key-coredump-end")
FUNCTION = "crash_here"  # what gdb must name


def compiled(name: str, directory: Path) -> Path:
    """`crasher` or `crasher_threads`, static (it runs in an empty container), with symbols."""
    program = directory / name
    if not program.exists():
        source = SOURCES / f"{name}.c"
        command = ["gcc", "-g", "-O1", "-fno-omit-frame-pointer", "-static", "-pthread"]
        subprocess.run([*command, "-o", program, source], check=True)
    return program


def compiled_32(directory: Path) -> Path:
    """`crasher_32`, a 32-bit x86 program, which needs no C library."""
    program = directory / "crasher_32"
    options = ["-m32", "-O1", "-static", "-nostdlib", "-ffreestanding", "-fno-stack-protector"]
    command = ["gcc", *options, "-fno-pie", "-no-pie", "-o", program, SOURCES / "crasher_32.c"]
    subprocess.run(command, check=True)
    return program


def python_crasher(*words: str) -> list[str]:
    """The command line of the Python crasher."""
    return [sys.executable, str(PYTHON), *words]
