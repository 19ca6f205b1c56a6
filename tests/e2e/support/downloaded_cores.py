"""Is a downloaded core whole? Ask meta.json, readelf and gdb."""

from __future__ import annotations

import json
import re
import subprocess
import zlib
from pathlib import Path
from typing import Any, NamedTuple

_LOAD = re.compile(r"^\s+LOAD\s+(0x[0-9a-f]+)\s+0x[0-9a-f]+\s+0x[0-9a-f]+\s+(0x[0-9a-f]+)", re.M)


class Dump(NamedTuple):
    """One dump of an unpacked archive."""

    core: Path
    meta: dict[str, Any]


def unpacked(directory: Path) -> list[Dump]:
    """Every dump below `directory`, oldest first."""
    found = [
        Dump(meta.with_name("core"), json.loads(meta.read_bytes()))
        for meta in directory.rglob("meta.json")
    ]
    return sorted(found, key=lambda dump: dump.meta["time"])


def check_whole(dump: Dump) -> None:
    """Size and CRC are what the handler counted on its pipe; every segment lies in the file."""
    core = dump.meta["core"]
    assert core["truncated"]["is"] is False
    size = dump.core.stat().st_size
    assert size == core["size"]
    crc = 0
    with dump.core.open("rb") as file:
        while chunk := file.read(1 << 20):
            crc = zlib.crc32(chunk, crc)
    assert f"{crc:08x}" == core["crc32"]
    printed = subprocess.run(
        ["readelf", "-lW", dump.core], capture_output=True, text=True, check=True
    ).stdout
    segments = [(int(offset, 16), int(length, 16)) for offset, length in _LOAD.findall(printed)]
    assert segments, printed
    assert all(offset + length <= size for offset, length in segments), printed


def backtrace(program: Path, dump: Dump) -> str:
    """What gdb prints about every thread."""
    words = ["gdb", "-nx", "-batch", "-ex", "thread apply all bt", program, dump.core]
    done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=120)
    return done.stdout


def holds(dump: Dump, *markers: bytes) -> bool:
    """Are all of these bytes in the core?"""
    content = dump.core.read_bytes()
    return all(marker in content for marker in markers)
