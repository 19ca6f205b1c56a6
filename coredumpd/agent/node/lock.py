"""Locks of a node: at most one guard and one shipper work below a hostDir."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
from pathlib import Path
from typing import Any

from coredumpd import errors

_log = logging.getLogger(__name__)


async def acquire(path: Path, stop: asyncio.Event, tries: int = 60) -> contextlib.closing[Any]:
    """Take the lock until it is closed; wait a second after each failed try, for another agent.

    hostDir is on a local disk, where flock(2) is reliable. Raises Conflict after the last try and
    when `stop` is set meanwhile, and StorageError.
    """
    try:
        # Another half may write here: a planted link or device is not followed, nor opened.
        flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        lock = os.fdopen(os.open(path, flags, 0o600), "w")
    except OSError as error:
        raise errors.StorageError(f"cannot open {path}: {error.strerror}") from error
    for _ in range(tries):
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return contextlib.closing(lock)
        except BlockingIOError:
            _log.info("another agent still holds %s, waiting", path)
        with contextlib.suppress(TimeoutError):  # the usual case: time for another try
            async with asyncio.timeout(1):
                await stop.wait()
            break
    lock.close()
    raise errors.Conflict(f"another agent holds {path}")
