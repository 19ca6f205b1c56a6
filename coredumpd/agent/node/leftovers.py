"""Remove what killed processes of this program left in the directory for temporary files.

The frozen executable unpacks itself into `_MEI…` below it, and removes that at its end. One that is
killed does not, and each leaves some 90 MB on the node's disk.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import stat
import sys
import time
from pathlib import Path

from coredumpd import durable
from coredumpd.agent.node import install

PREFIX = "_MEI"
YOUNG_S = 300.0  # it may be unpacked at this moment, and nobody uses it yet
_NAME = re.compile(rf"/({PREFIX}\w+)/".encode())


def clear(directory: Path) -> list[str]:
    """Remove the leftovers below `directory`; their names. Nothing where it cannot tell who lives.

    A leftover is a directory of ours, as only we unpack it, that no process has mapped a file of.
    """
    if not install.in_first_pid_namespace():
        return []
    names = [name for name in os.listdir(directory) if name.startswith(PREFIX)]
    leftover = [name for name in names if _is_ours(directory / name)]
    if not leftover:
        return []
    used = _mapped() | {os.path.basename(getattr(sys, "_MEIPASS", ""))}
    removed = sorted(set(leftover) - used)
    for name in removed:
        shutil.rmtree(directory / name, ignore_errors=True)
    return removed


def _is_ours(path: Path) -> bool:
    """Root's alone, unpacked by this program, and not just now."""
    try:
        descriptor = os.open(path, durable.DIRECTORY)
    except OSError:
        return False  # a link, a file, or gone
    try:
        if not durable.is_ours(descriptor):
            return False
        launcher = os.stat(install.BUNDLED_LAUNCHER, dir_fd=descriptor, follow_symlinks=False)
        age_s = time.time() - os.fstat(descriptor).st_mtime
        return stat.S_ISREG(launcher.st_mode) and age_s > YOUNG_S
    except OSError:
        return False  # another program's
    finally:
        os.close(descriptor)


def _mapped() -> set[str]:
    """The names of all such directories of which a process has mapped a file, wherever it is."""
    names: set[str] = set()
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended
            maps = (process / "maps").read_bytes()
            names.update(name.decode() for name in _NAME.findall(maps))
    return names
