from __future__ import annotations

import os
import types

import pytest

from coredumpd import errors
from coredumpd.download import space

MIB = 1024 * 1024


@pytest.fixture
def disk(monkeypatch):
    """A disk whose available bytes the test sets."""
    state = types.SimpleNamespace(f_bavail=100 * MIB, f_frsize=1)
    monkeypatch.setattr(os, "fstatvfs", lambda descriptor: state)
    return state


def test_holes_need_no_space_and_an_age_file_needs_more():
    plain = space.Sizes.parse({"storedSize": 10, "size": 1000, "sparseBytes": 900})
    assert plain.peak(opens=False) == plain.archive_max + 100
    sealed = space.Sizes.parse({"storedSize": 10, "size": 10**9, "sealed": {"size": 9}})
    assert sealed.peak(opens=True) == 9 + 10**9
    assert sealed.peak(opens=False) == 9 + sealed.archive_max


@pytest.mark.parametrize(
    "core",
    [
        None,
        [],
        {},
        {"storedSize": 1},
        {"storedSize": -1, "size": 1},
        {"storedSize": "1", "size": 1},
        {"storedSize": True, "size": 1},
        {"storedSize": 1, "size": 1, "sparseBytes": -5},
        {"storedSize": 1, "size": 1, "sealed": "x"},
    ],
)
def test_sizes_that_are_no_numbers_of_bytes_are_refused(core):
    with pytest.raises(errors.BadRecord, match="must be a number of bytes"):
        space.Sizes.parse(core)


def test_more_holes_than_core_do_not_make_space():
    sizes = space.Sizes.parse({"storedSize": 1, "size": 10, "sparseBytes": 10**12})
    assert sizes.allocated == 0


def test_too_little_space_is_refused_with_both_numbers(disk):
    space.Guard(0, "/out", 100 * MIB)
    with pytest.raises(errors.NoSpace, match=r"/out: 101Mi are needed and 100Mi are available"):
        space.Guard(0, "/out", 101 * MIB)


def test_space_that_others_take_meanwhile_is_noticed(disk):
    guard = space.Guard(0, "/out", 100 * MIB)
    guard.spend(15 * MIB)
    disk.f_bavail = 50 * MIB
    with pytest.raises(errors.NoSpace, match="85Mi are needed and 50Mi"):
        guard.spend(2 * MIB)


def test_bytes_where_the_record_says_holes_end_before_the_disk_is_full(disk):
    guard = space.Guard(0, "/out", 0)

    def write(_: int) -> None:
        guard.spend(MIB)
        disk.f_bavail -= MIB

    with pytest.raises(errors.NoSpace):
        list(map(write, range(100)))
    assert disk.f_bavail > 0
