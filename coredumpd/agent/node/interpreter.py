"""The launcher's ELF interpreter: the loader in its own bundle, in place of the host's.

The kernel runs the launcher in the host's mount namespace, where the C library may be older than
the one the launcher was linked with, another one, or missing. An ELF file names its interpreter by
an absolute path (PT_INTERP, elf(5)), so the name is written when the place is known: at install.
The interpreter then finds the libraries by the launcher's DT_RPATH, `$ORIGIN/_internal`.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path

from coredumpd import errors

LOADER = "_internal/ld.so"  # build.spec puts it there
_MAGIC = b"\x7fELF"
_CLASS_64, _LITTLE_ENDIAN = 2, 1
_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")  # Elf64_Ehdr
_SEGMENT = struct.Struct("<IIQQQQQQ")  # Elf64_Phdr
_PT_INTERP = 3


def set_interpreter(launcher: Path, interpreter: str) -> None:
    """Make the kernel start `launcher` by the loader at the absolute path `interpreter`.

    The path goes to the end of the file; the segment's entry points there. Nothing else moves.
    Raises BadRecord when `launcher` is not a 64-bit little-endian ELF file with an interpreter.
    """
    name = os.fsencode(interpreter) + b"\0"
    with launcher.open("r+b") as file:
        offset, segment = _interpreter_segment(file.read(1 << 16), launcher)
        end = file.seek(0, os.SEEK_END)
        file.write(name)
        kind, flags, _, address, physical, _, _, alignment = segment
        file.seek(offset)
        size = len(name)
        file.write(_SEGMENT.pack(kind, flags, end, address, physical, size, size, alignment))


def interpreter_of(launcher: Path) -> str:
    """The interpreter that `launcher` names. Raises BadRecord, see `set_interpreter`."""
    with launcher.open("rb") as file:
        _, segment = _interpreter_segment(file.read(1 << 16), launcher)
        file.seek(segment[2])
        return os.fsdecode(file.read(segment[5]).rstrip(b"\0"))


def _interpreter_segment(start: bytes, launcher: Path) -> tuple[int, tuple[int, ...]]:
    """The file offset of the PT_INTERP entry, and the entry."""
    is_elf = len(start) >= _HEADER.size and start[:4] == _MAGIC
    if not is_elf or start[4:6] != bytes((_CLASS_64, _LITTLE_ENDIAN)):
        raise errors.BadRecord(f"{launcher}: not a 64-bit little-endian ELF file")
    header = _HEADER.unpack_from(start)
    table, entry_bytes, count = header[5], header[9], header[10]
    for number in range(count):
        offset = table + number * entry_bytes
        if offset + _SEGMENT.size > len(start):
            break
        segment = _SEGMENT.unpack_from(start, offset)
        if segment[0] == _PT_INTERP:
            return offset, segment
    raise errors.BadRecord(f"{launcher}: no PT_INTERP segment in its first {len(start)} bytes")
