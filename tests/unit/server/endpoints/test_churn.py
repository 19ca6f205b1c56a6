from __future__ import annotations

import pytest
from support import clock as clocks

from coredumpd import errors
from coredumpd.server.endpoints import churn

MIB = 2**20


@pytest.fixture
def clock() -> clocks.Clock:
    return clocks.Clock(1000.0)


@pytest.fixture
def shares(clock: clocks.Clock) -> churn.Churn:
    return churn.Churn(64 * MIB, 300, clock)


def written(shares: churn.Churn, namespace: str, size: int = MIB, most: int = 1000) -> int:
    """How many writes of `size` are admitted, one after the other."""
    for count in range(most):
        try:
            with shares.hold(namespace, size):
                pass
        except errors.TooManyRequests:
            return count
        shares.wrote(namespace, size)
    return most


def test_one_namespace_has_half_of_the_history_and_others_have_room(shares: churn.Churn) -> None:
    assert written(shares, "greedy") == 32
    assert written(shares, "other") == 16
    assert written(shares, "third") == 8
    assert written(shares, "small", 1000, most=100) == 100


def test_the_refusal_says_when_to_try_again(shares: churn.Churn) -> None:
    written(shares, "greedy")
    with pytest.raises(errors.TooManyRequests, match=r"objectLimits\.historySize") as caught:
        shares.hold("greedy", MIB).__enter__()
    assert caught.value.retry_after_s == churn.RETRY_AFTER_S


def test_what_was_written_counts_for_one_to_two_intervals(
    shares: churn.Churn, clock: clocks.Clock
) -> None:
    assert written(shares, "greedy") == 32
    clock.now_s += 301
    assert written(shares, "greedy") == 0
    clock.now_s += 301
    assert written(shares, "greedy") == 32
    clock.now_s += 1000
    assert written(shares, "greedy") == 32


def test_writes_in_flight_count(shares: churn.Churn) -> None:
    with shares.hold("greedy", 20 * MIB):
        assert written(shares, "greedy", 20 * MIB) == 0
    assert written(shares, "greedy", 20 * MIB) == 1
