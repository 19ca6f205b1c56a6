"""Files and directories that were there before us: who owns them, and who else may use them.

A file that another user made may be open in that user's process, and a token that others may read
is theirs too. So a role uses only what belongs to its caller and gives others no right beyond a
given mode. A refusal names the path, its owner, its mode and the remedy.
"""

from __future__ import annotations

import errno
import os
import stat

from coredumpd import durable, errors

# The most that a mode may allow: of a secret, and of what others may read.
SECRET_FILE, SECRET_DIRECTORY = 0o600, 0o700
FILE, DIRECTORY = 0o644, 0o755
_FLAGS = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY  # a FIFO must not hang the open


def problem(attributes: os.stat_result, mode_max: int, uid: int) -> str | None:
    """The reason why `uid` must not use the file or directory; None if there is none."""
    mode = stat.S_IMODE(attributes.st_mode)
    facts = f"it belongs to uid {attributes.st_uid} and has mode {mode:04o}"
    if attributes.st_uid != uid:
        return f"{facts}; it must belong to uid {uid}"
    if mode & 0o077 & ~mode_max:
        return f"{facts}; its mode must be {mode_max:04o} or less"
    if stat.S_ISDIR(attributes.st_mode):
        return None
    if not stat.S_ISREG(attributes.st_mode):
        return f"{facts}; it must be a regular file"
    if attributes.st_nlink > 1:
        return f"{facts}; it has {attributes.st_nlink} names (hard links) and must have one"
    return None


def open_file(path: str, mode_max: int, remedy: str, *, directory: int, write: bool = False) -> int:
    """A descriptor of the last component of `path` in `directory`, to read, or to `write` as well.

    Raises Untrusted, with `remedy`, unless it is a regular file of the caller with one name and at
    most `mode_max`; FileNotFoundError; another OSError.
    """
    access = os.O_RDWR if write else os.O_RDONLY
    return _open(path, os.path.basename(path), access | _FLAGS, mode_max, remedy, directory)


def open_directory(
    path: str, mode_max: int, remedy: str, *, parent: int | None = None, create: bool = False
) -> int:
    """A descriptor of the directory, which is made 0700 if `create`; of its name in `parent`.

    Raises Untrusted, with `remedy`, unless it belongs to the caller and has at most `mode_max`;
    OSError.
    """
    name = path if parent is None else os.path.basename(path)
    if create:
        try:
            os.mkdir(name, 0o700, dir_fd=parent)
        except FileExistsError:
            create = False  # its owner and mode are checked as any other's
    return _open(path, name, durable.DIRECTORY, mode_max, remedy, parent)


def require_place(path: str, descriptor: int, option: str) -> None:
    """Raises Untrusted for a directory in which others can rename what we make.

    `option`: where the caller names another.
    Its owner is the caller or root. Others may write to it only if it is sticky, as /tmp is.
    """
    attributes = os.fstat(descriptor)
    mode = stat.S_IMODE(attributes.st_mode)
    writable = mode & stat.S_IWOTH and not mode & stat.S_ISVTX
    if attributes.st_uid not in (0, os.geteuid()) or writable:
        facts = f"it belongs to uid {attributes.st_uid} and has mode {mode:04o}"
        rule = f"it must belong to uid {os.geteuid()} or root, and others must not write to it"
        raise errors.Untrusted(f"{path}: {facts}; {rule}: name another with {option}")


def exposure(path: str, forbidden: int) -> str | None:
    """The reason why others may know or change a file that the caller named; None: they may not.

    `forbidden`: mode bits. Only regular files are judged; links are followed. Raises OSError.
    """
    attributes = os.stat(path)
    mode = stat.S_IMODE(attributes.st_mode)
    if not stat.S_ISREG(attributes.st_mode):
        return None
    if attributes.st_uid not in (0, os.geteuid()):
        return f"{path} belongs to uid {attributes.st_uid}"
    if mode & forbidden:
        verb, change = ("read", "go-rwx") if forbidden & 0o044 else ("change", "go-w")
        return f"{path} has mode {mode:04o}, so others may {verb} it: chmod {change} {path}"
    return None


def _open(
    path: str, name: str, flags: int, mode_max: int, remedy: str, directory: int | None
) -> int:
    try:
        descriptor = os.open(name, flags, dir_fd=directory)
    except OSError as error:
        if _is_link(name, directory):
            raise errors.Untrusted(f"{path}: it is a symbolic link: {remedy}") from error
        if error.errno == errno.ENXIO:
            raise errors.Untrusted(f"{path}: it is a socket: {remedy}") from error
        raise
    reason = problem(os.fstat(descriptor), mode_max, os.geteuid())
    if reason is not None:
        os.close(descriptor)
        raise errors.Untrusted(f"{path}: {reason}: {remedy}")
    return descriptor


def _is_link(name: str, directory: int | None) -> bool:
    try:
        return stat.S_ISLNK(os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode)
    except OSError:
        return False  # the error of the open tells more
