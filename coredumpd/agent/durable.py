"""Small files that appear whole or not at all, and survive a power cut."""

from __future__ import annotations

import os
from pathlib import Path

from coredumpd import errors


def write(path: Path, data: bytes) -> None:
    """Replace `path` by `data`, mode 0600, through a rename. Raises StorageError."""
    new = path.with_name(path.name + ".new")
    try:
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
        with open(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        new.rename(path)
        sync_directory(path.parent)
    except OSError as error:
        raise errors.StorageError(f"cannot write {path}: {error.strerror}") from error


def sync_directory(path: Path) -> None:
    """fsync(2) of a directory: what was renamed in it stays renamed. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
