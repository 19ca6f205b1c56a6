"""Is the crashed process the one that the guard crashes to test this node?

Imported only while the guard's file is there.
"""

from __future__ import annotations

import os

from coredumpd import durable
from coredumpd.formats import host_dir as host_dirs
from coredumpd.formats import self_test
from coredumpd.handler.evidence import process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from coredumpd.handler import crash as crashes


def is_named(crash: crashes.Crash, host_dir: int) -> bool:
    """Does the guard's file below `host_dir` name the pinned process? Never raises."""
    if crash.directory is None:
        return False
    try:
        descriptor = durable.open_regular(host_dirs.SELF_TEST, host_dir)
        try:
            if not durable.is_ours(descriptor):
                return False
            named = os.read(descriptor, self_test.BYTES_MAX)
        finally:
            os.close(descriptor)
        namespace = os.stat("ns/pid", dir_fd=crash.directory).st_ino
        stat = process.read(crash.directory, "stat")
    except OSError:
        return False  # the guard has removed its file meanwhile, or the process is gone
    return named == self_test.mark(namespace, crash.args.ns_pid, stat)
