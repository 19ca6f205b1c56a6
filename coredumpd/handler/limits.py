"""How much of a core may be stored: by policy, the process's own limit, and the spool's disk."""

from __future__ import annotations

import os

from coredumpd import errors
from coredumpd.elfcore import prologue
from coredumpd.formats import policy
from coredumpd.handler import shares
from coredumpd.spool import capture, copier
from coredumpd.spool import room as rooms

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
        return Limit(0, policy.QUOTA_REACHED)
    if rules.honourRlimit and rlimit_core < rules.maxSize:
        return Limit(rlimit_core if rlimit_core >= PAGE_BYTES else 0, copier.RLIMIT)
    return Limit(rules.maxSize, copier.MAX_SIZE)


def of_spool(spool: int, tenant: str, rules: policy.Policy) -> Limit | None:
    """Bytes of gzip that the spool takes of `tenant`: 0 or less when it takes its record alone.

    None when not even that, by the tenant's share. Raises StorageError when the spool takes no
    record at all: one takes inodes, and time from every later crash.
    """
    disk = os.fstatvfs(spool)
    inodes = rooms.inodes_left(disk, rules.spoolKeepFreeInodes)
    if inodes < rooms.ENTRY_INODES:
        raise errors.StorageError(
            f"the spool's disk has {disk.f_ffree} of {disk.f_files} inodes free, which stay free"
            " for the node (spoolKeepFreeInodes)"
        )
    usage = Usage.of(spool, tenant)
    if usage.entries >= rules.spoolMaxEntries:
        raise errors.StorageError(f"{usage.entries} dumps wait in the spool (spoolMaxEntries)")
    others = usage.entries - usage.own_entries
    if not shares.may_enter(rules.spoolMaxEntries, others, usage.own_entries):
        return None
    return room(rules, usage, rooms.left(disk, rules.spoolKeepFree))


def reservation(room: int, limit: int, first: bytes) -> int:
    """Bytes that a capture may come to take: its tenant's next capture must find them counted.

    `first` is the beginning of the core, which says how long the core is; `limit` is its limit.
    """
    start = prologue.Prologue()
    start.feed(first)
    expected = limit if start.size is None else min(start.size, limit)
    return max(0, min(room, expected))


def room(rules: policy.Policy, usage: Usage, free: int) -> Limit:
    """Bytes that a tenant may still use, given what is in use, and what the disk has for us."""
    left = min(rules.spoolMaxUse - usage.size, free)
    is_disk = left == free
    total = usage.size + max(0, left)
    others = max(0, usage.size - usage.own_size)
    own = shares.allowance(total, others) - usage.own_size
    if own < left:
        return Limit(max(0, own), copier.DISK_SHARE if is_disk else copier.SPOOL_SHARE)
    return Limit(left, copier.DISK_FULL if is_disk else copier.SPOOL_FULL)


class Usage:
    """The spool's content: entries, and bytes of core, captures in progress included.

    Of the tenant's own captures in progress, what is reserved for them counts.
    """

    __slots__ = ("entries", "own_entries", "own_size", "size")

    def __init__(self, entries: int, size: int, own_entries: int, own_size: int) -> None:
        """`own_…`: the part of one tenant."""
        self.entries = entries
        self.size = size
        self.own_entries = own_entries
        self.own_size = own_size

    @classmethod
    def of(cls, spool: int, tenant: str) -> Usage:
        """Two questions about each entry, no file opened. 10,000 entries take some 60 ms."""
        usage = cls(0, 0, 0, 0)
        mark = capture.TENANT + tenant
        for name in os.listdir(spool):
            usage.entries += 1
            size = _size(f"{name}/{capture.CORE}", spool) or 0
            usage.size += size
            reserved = _size(f"{name}/{mark}", spool)
            if reserved is not None:
                usage.own_entries += 1
                usage.own_size += max(size, reserved) if name.endswith(capture.PART) else size
        return usage


def _size(path: str, directory: int) -> int | None:
    try:
        return os.stat(path, dir_fd=directory, follow_symlinks=False).st_size
    except (FileNotFoundError, NotADirectoryError):
        return None  # shipped meanwhile, or not a capture
