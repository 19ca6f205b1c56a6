"""How much of a core may be stored: by policy, the process's own limit, and the spool's disk."""

from __future__ import annotations

import os

from coredumpd import errors
from coredumpd.formats import policy
from coredumpd.spool import capture, copier

PAGE_BYTES = 4096  # an RLIMIT_CORE below one page means "no core", as the kernel takes it for files


class Limit:
    """The most bytes of core, and why that is the limit."""

    __slots__ = ("reason", "size")

    def __init__(self, size: int, reason: str) -> None:
        self.size = size
        self.reason = reason


def of_core(rules: policy.Policy, rlimit_core: int) -> Limit:
    """The limit on the uncompressed core; size 0 when the process wants none, or may have none."""
    if rules.quotaReached:
        return Limit(0, copier.QUOTA)
    if rules.honourRlimit and rlimit_core < rules.maxSize:
        return Limit(rlimit_core if rlimit_core >= PAGE_BYTES else 0, copier.RLIMIT)
    return Limit(rules.maxSize, copier.MAX_SIZE)


def of_spool(spool: int, rules: policy.Policy) -> int:
    """Bytes of gzip that the spool still takes; 0 or less when it takes nothing but records.

    Raises StorageError when not even those: a record takes inodes, and time from every later crash.
    """
    disk = os.fstatvfs(spool)
    entries, used = usage(spool)
    if entries >= rules.spoolMaxEntries:
        raise errors.StorageError(f"{entries} dumps wait in the spool (spoolMaxEntries)")
    return room(rules, used, disk.f_bavail * disk.f_frsize)


def room(rules: policy.Policy, used: int, free: int) -> int:
    """Bytes that `spoolMaxUse` and `spoolKeepFree` leave, given bytes in use and free."""
    return min(rules.spoolMaxUse - used, free - rules.spoolKeepFree)


def usage(spool: int) -> tuple[int, int]:
    """How many entries the spool has, and bytes of core, captures in progress included."""
    names = os.listdir(spool)
    total = 0
    for name in names:
        try:
            total += os.stat(f"{name}/{capture.CORE}", dir_fd=spool, follow_symlinks=False).st_size
        except (FileNotFoundError, NotADirectoryError):
            continue  # shipped meanwhile, or not a capture
    return len(names), total
