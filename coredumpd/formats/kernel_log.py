"""The lines that a handler writes to the kernel's log, and their meaning to the agent.

The crash path imports this module.
"""

from __future__ import annotations

import os

from coredumpd import log

ERROR, WARNING, INFO = 3, 4, 6  # syslog(3) severities


KMSG = "/dev/kmsg"
LINE_BYTES_MAX = 900  # the kernel's own limit for one /dev/kmsg record is near 1 KiB


def write(level: int, message: str) -> None:
    """One line to the kernel log, the only sink a handler has. `level` is a syslog(3) severity.

    A log that cannot be written must not stop a capture, so an OSError is dropped here: the
    consequence is a crash that is stored but not announced.
    """
    line = f"<{level}>coredumpd[{os.getpid()}]: {log.escape(message)}"[:LINE_BYTES_MAX]
    try:
        sink = os.open(KMSG, os.O_WRONLY | os.O_CLOEXEC | os.O_NOCTTY)
    except OSError:
        return
    try:
        os.write(sink, line.encode() + b"\n")
    except OSError:
        pass  # as above
    finally:
        os.close(sink)
