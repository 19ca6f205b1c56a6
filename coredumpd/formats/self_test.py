"""How a handler knows the process that the guard itself crashes, to see that the kernel reaches us.

Before that process crashes, the guard writes these bytes to `host_dir.SELF_TEST`, in a directory
that only root can enter; the handler makes them from what /proc says about the process that has
crashed, and compares. No word of them is a tenant's to choose: nobody else is in the guard's PID
namespace under the same pid while the guard has not reaped its child, and the time of the start
keeps a file that a killed guard has left from naming another process (proc(5), field 22 of stat).
"""

from __future__ import annotations

BYTES_MAX = 128


def mark(pid_namespace: int, pid: int, stat: bytes) -> bytes:
    """The bytes that name the process `pid`, by its own PID namespace, of inode `pid_namespace`.

    `stat` is its /proc/PID/stat. Fields are counted from the last parenthesis, because comm may
    hold any byte but a NUL.
    """
    fields = stat.rpartition(b")")[2].split()
    start_ticks = fields[19] if len(fields) > 19 else b"-"
    return b"%d %d %s\n" % (pid_namespace, pid, start_ticks)
