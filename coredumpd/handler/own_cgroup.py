"""Move this process into the handlers' cgroups: together they have a CPU weight and a memory limit.

The kernel runs handlers in the root cgroup, where nothing bounds what a storm of crashes takes.
The first move after a while waits for a grace period of RCU, 17 ms as measured (cgroup_attach_lock
in kernel/cgroup/cgroup.c). So a thread makes it while the first modules load; whoever is about to
give up rights, or to use memory, waits for it. A move that fails leaves the process where it is.

Tested in: tests/integration/capture/test_own_cgroup.py
"""

from __future__ import annotations

import _thread
import os

from coredumpd import durable, errors
from coredumpd.formats import handler_cgroups, kernel_log
from coredumpd.formats import host_dir as host_dirs


class Move:
    """The move of this process, in progress or over."""

    def __init__(self, host_dir: str) -> None:
        """Begin it, in a thread."""
        self._over = _thread.allocate_lock()
        self._over.acquire()
        try:
            _thread.start_new_thread(self._run, (host_dir,))
        except RuntimeError:  # no thread can be had: it is a limit that is lost, not a crash
            self._run(host_dir)

    def wait(self) -> None:
        """Return once it is over, whatever came of it. May be called twice."""
        self._over.acquire()
        self._over.release()

    def _run(self, host_dir: str) -> None:
        try:
            enter(host_dir)
        finally:
            self._over.release()


def enter(host_dir: str) -> None:
    """Move this process into each of the cgroups, if there are any. Raises nothing.

    A failure is a line in the kernel's log.
    """
    try:
        paths = handler_cgroups.parse(_read(host_dir))
    except FileNotFoundError:
        return  # this node has none, as the guard has said
    except (OSError, errors.CoredumpdError) as error:
        kernel_log.write(kernel_log.WARNING, f"capturing in no cgroup of its own: {error}")
        return
    for path in paths:
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
            try:
                os.write(descriptor, b"0")  # the process that writes (cgroups(7))
            finally:
                os.close(descriptor)
        except OSError as error:
            problem = f"capturing in no cgroup of its own: {path}: {error.strerror}"
            kernel_log.write(kernel_log.WARNING, problem)


def _read(host_dir: str) -> bytes:
    """The bytes of the guard's file. Raises OSError for one that is not a plain file of ours."""
    descriptor = durable.open_regular(f"{host_dir}/{host_dirs.HANDLER_CGROUPS}")
    try:
        if not durable.is_ours(descriptor):
            raise OSError(f"{host_dirs.HANDLER_CGROUPS} is not ours")
        return os.read(descriptor, handler_cgroups.BYTES_MAX + 1)
    finally:
        os.close(descriptor)
