from __future__ import annotations

import pytest
from support import clock as clocks

from coredumpd.apiserver.machinery import pace


@pytest.fixture
def clock() -> clocks.Clock:
    return clocks.Clock()


@pytest.fixture
def upload(clock: clocks.Clock) -> pace.Pace:
    made = pace.Pace(100, 10.0, clock)
    made.waits()
    return made


def test_silence_is_too_slow_after_the_window(clock, upload):
    clock.now_s = 9.9
    assert not upload.is_too_slow()
    clock.now_s = 10.0
    assert upload.is_too_slow()


def test_a_trickle_is_too_slow(clock, upload):
    for second in range(1, 20):
        clock.now_s = float(second)
        upload.receives(10)
        upload.waits()
    assert upload.is_too_slow()


def test_a_slow_window_is_not_forgotten(clock, upload):
    clock.now_s = 11.0
    upload.receives(1)
    upload.waits()
    assert upload.is_too_slow()


def test_the_bytes_of_a_fast_beginning_do_not_pay_for_a_slow_end(clock, upload):
    clock.now_s = 10.0
    upload.receives(1_000_000)
    upload.waits()
    clock.now_s = 21.0
    assert upload.is_too_slow()


def test_nor_do_they_when_they_and_the_silence_are_in_one_window(clock, upload):
    upload.receives(1_000_000)
    upload.waits()
    for second in range(1, 21):
        clock.now_s = float(second)
        assert upload.is_too_slow() is (second >= 20)


def test_the_agreed_pace_is_enough_for_ever(clock, upload):
    for second in range(1, 200):
        clock.now_s = float(second)
        upload.receives(100)
        upload.waits()
        assert not upload.is_too_slow()


def test_the_time_in_which_the_server_writes_does_not_count(clock, upload):
    clock.now_s = 1.0
    upload.receives(100)
    clock.now_s = 1000.0  # a store that hangs
    assert not upload.is_too_slow()
    upload.waits()
    clock.now_s = 1005.0
    assert not upload.is_too_slow()
