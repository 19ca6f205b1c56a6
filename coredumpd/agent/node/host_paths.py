"""Keep others from replacing the handler: hostDir and all directories above it must be root's.

The kernel runs what it finds at a path. Whoever can write one directory of it chooses what that is.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from coredumpd import errors


def check_above(host_dir: Path) -> None:
    """Raises Forbidden for a directory above `host_dir` that another user owns or can write.

    A sticky one, such as /tmp, is one of those: names in it are anybody's until they are taken.
    Directories that do not exist yet will be ours. A link is as good as the directory it is in.
    """
    for path in {host_dir, Path(os.path.realpath(host_dir))}:
        for above in reversed(path.parents):
            if above.exists():
                _check(host_dir, above)


def check(host_dir: Path) -> None:
    """Raises Forbidden when `host_dir` itself is another's. Raises OSError when it is missing."""
    _check(host_dir, host_dir)


def _check(host_dir: Path, path: Path) -> None:
    status = path.stat()
    mode = stat.S_IMODE(status.st_mode)
    if status.st_uid not in (0, os.geteuid()) or mode & 0o022:
        above = "" if path == host_dir else f" {path}, above it,"
        raise errors.Forbidden(
            f"hostDir {host_dir}:{above} must belong to root and be writable by nobody else,"
            f" because the kernel runs what is in it as root; it belongs to uid {status.st_uid}"
            f" and has mode {mode:04o}"
        )
