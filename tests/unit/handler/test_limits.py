"""Which limit counts, and how much room the spool has."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import pytest
from support import cores

from coredumpd import errors
from coredumpd.formats import policy
from coredumpd.handler import limits
from coredumpd.spool import copier

PAGE = limits.PAGE_BYTES


def rules(**fields: object) -> policy.Policy:
    made = policy.Policy()
    for name, value in fields.items():
        setattr(made, name, value)
    return made


def test_max_size_is_the_limit_whatever_the_process_asked_for() -> None:
    limit = limits.of_core(rules(maxSize=10**9), 0)
    assert (limit.size, limit.reason) == (10**9, copier.MAX_SIZE)


def test_a_smaller_rlimit_counts_when_it_is_honoured() -> None:
    limit = limits.of_core(rules(maxSize=10**9, honourRlimit=True), 10**6)
    assert (limit.size, limit.reason) == (10**6, copier.RLIMIT)


def test_a_larger_rlimit_does_not_raise_max_size() -> None:
    assert limits.of_core(rules(maxSize=10**9, honourRlimit=True), 2**64 - 1).size == 10**9


def test_an_rlimit_below_a_page_means_no_core() -> None:
    assert limits.of_core(rules(honourRlimit=True), PAGE - 1).size == 0
    assert limits.of_core(rules(honourRlimit=True), PAGE).size == PAGE


def usage(size: int = 0, own_size: int = 0) -> limits.Usage:
    return limits.Usage(0, size, 0, own_size)


def test_the_tighter_of_use_and_free_space_bounds_a_tenants_quarter() -> None:
    made = rules(spoolMaxUse=1000)
    assert limits.room(made, usage(), free=10_000).size == 250
    assert limits.room(made, usage(200, 200), free=10_000).size == 50
    assert limits.room(made, usage(500), free=10_000).size == 250
    assert limits.room(made, usage(), free=200).size == 50
    assert limits.room(made, usage(2000), free=200).size < 0


def test_the_reason_names_the_limit_that_counts() -> None:
    made = rules(spoolMaxUse=1000)
    assert limits.room(made, usage(2000), free=10).reason == copier.SPOOL_FULL
    assert limits.room(made, usage(300, 300), free=10_000).reason == copier.SPOOL_SHARE
    assert limits.room(made, usage(), free=-5).reason == copier.DISK_FULL
    assert limits.room(made, usage(), free=100).reason == copier.DISK_SHARE


@pytest.mark.parametrize(("free", "is_refused"), [(99, True), (106, False)])
def test_a_disk_that_must_keep_its_inodes_takes_no_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int, is_refused: bool
) -> None:
    disk = os.statvfs_result((4096, 4096, 10**9, 10**9, 10**9, 1000, free, free, 0, 255))
    monkeypatch.setattr(os, "fstatvfs", lambda descriptor: disk)
    fd = os.open(tmp_path, os.O_RDONLY)
    try:
        with (
            pytest.raises(errors.StorageError, match=r"of 1000 inodes free.*spoolKeepFreeInodes")
            if is_refused
            else contextlib.nullcontext()
        ):
            limits.of_spool(fd, "shop", rules())
    finally:
        os.close(fd)


def test_who_has_its_share_is_cut_and_the_neighbour_is_not() -> None:
    made = rules(spoolMaxUse=1000)
    sealing = limits.room(made, usage(250, 250), free=10_000)
    assert (sealing.size, sealing.reason) == (0, copier.SPOOL_SHARE)
    assert (
        limits.room(made, usage(250), free=10_000).size == limits.room(made, usage(), 10_000).size
    )


def test_a_capture_reserves_what_its_headers_state_and_no_more_than_there_is() -> None:
    core = cores.elf(1_000_000)
    assert limits.reservation(10**9, 10**9, core[:65536]) == len(core)
    assert limits.reservation(1000, 10**9, core[:65536]) == 1000
    assert limits.reservation(10**9, 500, core[:65536]) == 500
    assert limits.reservation(10**9, 700, b"no core") == 700


def test_captures_in_progress_count_and_planted_links_do_not(tmp_path: Path) -> None:
    for name, size, tenant in (("a", 100, "shop"), ("b.part", 50, "shop"), ("c", 7, "team-a")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "core.gz").write_bytes(bytes(size))
        (tmp_path / name / f"tenant.{tenant}").touch()
    os.truncate(tmp_path / "a" / "tenant.shop", 5000)  # reserved while it was captured
    os.truncate(tmp_path / "b.part" / "tenant.shop", 5000)
    (tmp_path / "file").write_text("")
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").mkdir()
    (tmp_path / "link" / "core.gz").symlink_to("/proc/kcore")
    fd = os.open(tmp_path, os.O_RDONLY)
    found = limits.Usage.of(fd, "shop")
    os.close(fd)
    assert (found.entries, found.own_entries, found.own_size) == (6, 2, 5100)
    assert found.size < 1000
