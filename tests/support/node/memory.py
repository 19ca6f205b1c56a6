"""A memory cgroup with a limit, as the kubelet makes one from a manifest's `limits.memory`."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

_V1, _V2 = Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup")


@dataclasses.dataclass
class Limited:
    """`prefix` starts a program within the cgroup."""

    directory: Path
    prefix: list[str]

    def pids(self) -> list[int]:
        """The processes in it now; those that have moved to another one are not charged here."""
        return [int(pid) for pid in (self.directory / "cgroup.procs").read_text().split()]

    @property
    def peak(self) -> int:
        """The most bytes that its processes have had at a time, caches included."""
        for name in ("memory.max_usage_in_bytes", "memory.peak"):
            with contextlib.suppress(FileNotFoundError):
                return int((self.directory / name).read_text())
        return 0

    @property
    def kills(self) -> int:
        """How many of its processes were killed for want of memory."""
        for name in ("memory.oom_control", "memory.events"):
            with contextlib.suppress(FileNotFoundError):
                lines = (self.directory / name).read_text().splitlines()
                return int(dict(line.split() for line in lines).get("oom_kill", "0"))
        return 0


@contextlib.contextmanager
def limited(size: int) -> Iterator[Limited]:
    """A cgroup of at most `size` bytes; skips the test, by name, where none can be made."""
    root, limit = _V1, "memory.limit_in_bytes"
    if not root.is_dir():
        root, limit = _V2, "memory.max"
    directory = root / f"coredumpd-test-{uuid.uuid4().hex[:8]}"
    try:
        directory.mkdir()
        (directory / limit).write_text(str(size))
    except OSError as error:
        pytest.skip(f"no memory cgroup can be made here: {error}")
    script = f'echo $$ > {directory}/cgroup.procs && exec "$@"'
    try:
        yield Limited(directory, ["sh", "-c", script, "sh"])
    finally:
        with contextlib.suppress(OSError):  # a process has not ended yet; it is empty all the same
            os.rmdir(directory)
