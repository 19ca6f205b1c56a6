"""Which limit counts, and how much room the spool has."""

from __future__ import annotations

import os
from pathlib import Path

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


def test_the_tighter_of_use_and_free_space_is_the_room() -> None:
    made = rules(spoolMaxUse=1000, spoolKeepFree=100)
    assert limits.room(made, used=400, free=10_000) == 600
    assert limits.room(made, used=400, free=300) == 200
    assert limits.room(made, used=2000, free=300) < 0


def test_captures_in_progress_count_and_planted_links_do_not(tmp_path: Path) -> None:
    for name, size in (("a", 100), ("b.part", 50)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "core.gz").write_bytes(bytes(size))
    (tmp_path / "file").write_text("")
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").mkdir()
    (tmp_path / "link" / "core.gz").symlink_to("/proc/kcore")
    fd = os.open(tmp_path, os.O_RDONLY)
    entries, used = limits.usage(fd)
    assert entries == 5
    assert used < 1000
    os.close(fd)
