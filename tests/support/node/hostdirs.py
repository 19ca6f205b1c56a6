"""A hostDir for one test: below directories that are root's alone, as the agent demands."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from coredumpd.agent.node.handlers_cgroup import make

ROOTED = "/var/lib"  # not /tmp: it is anybody's


@contextlib.contextmanager
def temporary() -> Iterator[Path]:
    """An empty one, removed in the end. Its path is short: core_pattern holds 127 bytes."""
    path = Path(tempfile.mkdtemp(prefix="cd-", dir=ROOTED))
    try:
        yield path
    finally:
        remove(path)


def remove(path: Path) -> None:
    """Remove a hostDir, and the cgroups that a guard made for its handlers."""
    make.remove(path)
    shutil.rmtree(path, ignore_errors=True)
