"""Can the handler lie in hostDir, and can nobody else replace it? If not, one sentence says why.

The kernel runs what it finds at a path. Whoever can write one directory of it chooses what that is:
so hostDir and all directories above it must be root's.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from coredumpd import errors, units
from coredumpd.agent.node import mounts

_FULL = (errno.ENOSPC, errno.EDQUOT)


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


def check_exec(host_dir: Path) -> None:
    """Raises Forbidden when the file system of `host_dir` is mounted noexec.

    Call it where the kernel runs the handler: in PID 1's namespaces. A directory that is not there
    is no matter of its mount.
    """
    try:
        flags = os.statvfs(host_dir).f_flag
    except FileNotFoundError:
        return
    if flags & os.ST_NOEXEC:
        raise errors.Forbidden(
            f"hostDir {host_dir}: its file system, mounted at {mount_point(host_dir)}, is noexec,"
            " so the kernel could not run the handler there; choose another (on GKE's COS:"
            " /home/kubernetes/bin/coredumpd)"
        )


def problem(host_dir: Path, error: OSError, bytes_needed: int = 0) -> errors.StorageError:
    """The error for an OSError from below `host_dir`, in one sentence that names what to change.

    `bytes_needed`: the size of what could not be written.
    """
    path = Path(error.filename) if isinstance(error.filename, str) else host_dir
    text = _obstacle(path if path.is_relative_to(host_dir) else host_dir)
    if text is None and error.errno == errno.EROFS:
        text = f"its file system, mounted at {mount_point(host_dir)}, is read-only"
    if text is None and error.errno in _FULL:
        text = f"{os.strerror(error.errno)}: {_free(host_dir)}"
        text += f", {units.format_quantity(bytes_needed)}B are needed" if bytes_needed else ""
    return errors.StorageError(f"hostDir {host_dir}: {text or error.strerror or error}")


def _obstacle(directory: Path) -> str | None:
    """The part of a path that is there, but leads to no directory; None when there is none."""
    for path in (*reversed(directory.parents), directory):
        if path.is_symlink() and not path.exists():
            return f"{path} is a link to {os.readlink(path)}, which leads nowhere"
        if path.exists() and not path.is_dir():
            return f"{path} is not a directory"
    return None


def _free(host_dir: Path) -> str:
    """The room that is left in the file system of `host_dir`, or of what will be above it."""
    nearest = next(path for path in (host_dir, *host_dir.parents) if path.exists())
    status = os.statvfs(nearest)
    size = units.format_quantity(status.f_bavail * status.f_frsize)
    files = f" and {status.f_favail} files" if status.f_files else ""  # some count none (btrfs)
    return f"{size}B{files} are left in {mount_point(host_dir)}"


def mount_point(path: Path) -> str:
    """Where the file system of `path` is mounted, for this thread; "/" where that is not known."""
    mountinfo = os.fsdecode(Path("/proc/thread-self/mountinfo").read_bytes())
    place = mounts.locate(mountinfo, os.path.realpath(path))
    return "/" if place is None else place.point
