"""Room that stays free on the spool's disk, because the node's own work needs it. Pure.

A kubelet evicts pods when a disk is nearly full: by default below 10 % of nodefs, 15 % of imagefs,
or 5 % of the inodes (kubernetes.io, "Node-pressure Eviction"). Each is a part of the whole disk as
statfs(2) has it, of what is left to users who are not root. Captures stay above that.
"""

from __future__ import annotations

import os

KEEP_PERCENT = 15
KEEP_BYTES = 1024**3  # and never less
KEEP_INODES_PERCENT = 10
ENTRY_INODES = 6  # directory, core, record, mark, and two files that replace others


def default_keep(disk: os.statvfs_result) -> int:
    """Bytes that stay free where the policy has no number."""
    return max(KEEP_BYTES, disk.f_blocks * disk.f_frsize * KEEP_PERCENT // 100)


def default_keep_inodes(disk: os.statvfs_result) -> int:
    """Inodes that stay free where the policy has no number."""
    return disk.f_files * KEEP_INODES_PERCENT // 100


def left(disk: os.statvfs_result, keep: int | None) -> int:
    """Bytes that may still be written, so that `keep` stay free; less than 0 below that.

    `keep` None: the default.
    """
    if keep is None:
        keep = default_keep(disk)
    return disk.f_bavail * disk.f_frsize - keep


def inodes_left(disk: os.statvfs_result, keep: int | None) -> int:
    """As `left`, of inodes. A file system that makes them as it needs them (btrfs) has 2**63."""
    if not disk.f_files:
        return 2**63
    if keep is None:
        keep = default_keep_inodes(disk)
    return disk.f_ffree - keep
