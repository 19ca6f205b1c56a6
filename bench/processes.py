"""CPU time and memory of processes, for the benchmarks.

A frozen program is two processes, the launcher and its child, so most numbers are of a family: a
process and all its descendants.
"""

from __future__ import annotations

from pathlib import Path

import psutil

KIB = 1024


def family(pid: int) -> list[psutil.Process]:
    """The process and its descendants."""
    parent = psutil.Process(pid)
    return [parent, *parent.children(recursive=True)]


def cpu_s(pid: int) -> float:
    """User and system time of the family, in seconds."""
    times = [process.cpu_times() for process in family(pid)]
    return float(sum(time.user + time.system for time in times))


def resident_bytes(pid: int) -> int:
    """Resident memory of the family now."""
    return sum(process.memory_info().rss for process in family(pid))


def peak_bytes(pid: int) -> int:
    """The most resident memory that the process alone ever had: VmHWM of proc(5).

    psutil does not read it, and ru_maxrss would begin at the peak of the parent it forked from.
    0 once the process has ended.
    """
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * KIB
    return 0  # a zombie has no memory


def family_peak_bytes(pid: int) -> int:
    """The sum of the peaks of the family."""
    return sum(peak_bytes(process.pid) for process in family(pid))
