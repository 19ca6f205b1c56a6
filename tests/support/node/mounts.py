"""Filesystems that come and go."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path


def mount(*words: object) -> None:
    subprocess.run(["mount", *map(str, words)], check=True)


class Mount:
    """A tmpfs, seen at `at` while it is there. What is in it stays, wherever it is seen."""

    def __init__(self, directory: Path, size: str) -> None:
        self._behind = directory / "behind"
        self.at = directory / "mounted"
        for path in (self._behind, self.at):
            path.mkdir(parents=True)
        mount("-t", "tmpfs", "-o", f"size={size}", "tmpfs", self._behind)
        self.come()

    def come(self) -> None:
        mount("--bind", self._behind, self.at)

    def go(self) -> None:
        """Away, for whoever opens it from now on."""
        subprocess.run(["umount", "--lazy", str(self.at)], check=True)

    def become(self, option: str) -> None:
        """Remount it: `ro` or `rw`."""
        mount("-o", f"remount,{option}", self._behind)
        mount("-o", f"remount,bind,{option}", self.at)

    def close(self) -> None:
        for path in (self.at, self._behind):
            subprocess.run(["umount", "--lazy", str(path)], check=False, capture_output=True)


@contextlib.contextmanager
def mounted(directory: Path, size: str = "64m") -> Iterator[Mount]:
    """A tmpfs at `directory`/mounted."""
    made = Mount(directory, size)
    try:
        yield made
    finally:
        made.close()


@contextlib.contextmanager
def disk(directory: Path, size: str, inodes: int) -> Iterator[Path]:
    """An ext4 of `size` at `directory`/disk, in a sparse file: it takes only what is written."""
    image, at = directory / "disk.img", directory / "disk"
    at.mkdir()
    options = ("-E", "lazy_itable_init=1,lazy_journal_init=1", "-N", str(inodes))
    subprocess.run(["truncate", "-s", size, image], check=True)
    subprocess.run(["mkfs.ext4", "-q", "-m", "0", *options, image], check=True)
    mount("-o", "loop", image, at)
    try:
        yield at
    finally:
        subprocess.run(["umount", at], check=True)
        image.unlink()
