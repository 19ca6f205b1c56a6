"""A hostDir for one test: below directories that are root's alone, as the agent demands."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

ROOTED = "/var/lib"  # not /tmp: it is anybody's


@contextlib.contextmanager
def temporary() -> Iterator[Path]:
    """An empty one, removed in the end. Its path is short: core_pattern holds 127 bytes."""
    path = Path(tempfile.mkdtemp(prefix="cd-", dir=ROOTED))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
