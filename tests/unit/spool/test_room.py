"""What stays free of a disk, in bytes and inodes."""

from __future__ import annotations

import os

from coredumpd.spool import room

GIB = 1024**3


def disk(total: int, free: int, inodes: int = 1000, free_inodes: int = 1000) -> os.statvfs_result:
    blocks = (total // 4096, (free + total // 50) // 4096, free // 4096)  # 2 % are root's
    return os.statvfs_result((4096, 4096, *blocks, inodes, free_inodes, free_inodes, 0, 255))


def test_by_default_15_percent_of_a_disk_stay_free_and_a_gibibyte_of_a_small_one() -> None:
    assert room.left(disk(100 * GIB, 20 * GIB), None) == 5 * GIB
    assert room.left(disk(100 * GIB, 12 * GIB), None) == -3 * GIB
    assert room.left(disk(4 * GIB, 2 * GIB), None) == GIB


def test_a_number_counts_instead_of_the_default() -> None:
    assert room.left(disk(100 * GIB, 12 * GIB), 2 * GIB) == 10 * GIB
    assert room.left(disk(100 * GIB, 12 * GIB), 0) == 12 * GIB


def test_inodes_stay_free_too_where_a_file_system_counts_them() -> None:
    assert room.inodes_left(disk(GIB, GIB, 1000, 100), None) == 0
    assert room.inodes_left(disk(GIB, GIB, 1000, 100), 30) == 70
    assert room.inodes_left(disk(GIB, GIB, 0, 0), None) > 10**9
