"""The node's lock: at most one agent works below a hostDir."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
from pathlib import Path
from typing import Any

from coredumpd import errors
from coredumpd.formats import host_dir as host_dirs

_log = logging.getLogger(__name__)


async def acquire(host_dir: Path, tries: int = 60) -> contextlib.closing[Any]:
    """Take the lock until it is closed; wait a second after each failed try, for another agent.

    hostDir is on a local disk, where flock(2) is reliable. Raises Conflict after the last try.
    """
    lock = (host_dir / host_dirs.AGENT_LOCK).open("w")
    for _ in range(tries):
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return contextlib.closing(lock)
        except BlockingIOError:
            _log.info("another agent still runs on %s, waiting", host_dir)
            await asyncio.sleep(1)
    lock.close()
    raise errors.Conflict(f"another agent owns {host_dir}")
