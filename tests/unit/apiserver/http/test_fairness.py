from __future__ import annotations

import pytest

from coredumpd import errors
from coredumpd.apiserver.auth import interface
from coredumpd.apiserver.http import fairness

ALICE, BOB = interface.Caller("alice"), interface.Caller("bob")
MASTER = interface.Caller("admin", groups=("system:masters",))


@pytest.mark.parametrize("kind", ["watch", "download", "request"])
def test_who_has_its_share_is_told_to_try_again_and_others_are_served(kind):
    fair = fairness.Fairness(fairness.Limits(8, 8, 8))
    for _ in range(4):
        fair.take(kind, ALICE)
    with pytest.raises(errors.TooManyRequests, match="try again later"):
        fair.take(kind, ALICE)
    fair.take(kind, BOB)
    assert fair.shares[kind].refusals == 1


def test_the_control_plane_is_served_when_all_places_are_taken():
    fair = fairness.Fairness(fairness.Limits(2, 2, 2))
    for caller in (ALICE, BOB):
        fair.take("request", caller)
    with pytest.raises(errors.TooManyRequests):
        fair.take("request", interface.Caller("carol"))
    with fair.take("request", MASTER), pytest.raises(errors.TooManyRequests):
        fair.take("request", MASTER)
    fair.take("request", MASTER)


def test_a_place_is_free_again_at_the_end_of_its_block():
    fair = fairness.Fairness()
    with fair.take("watch", ALICE) as held:
        assert fair.shares["watch"].used == 1
    held.close()
    assert fair.shares["watch"].used == 0


def test_an_address_has_a_share_of_the_reviews_of_tokens():
    fair = fairness.Fairness(fairness.Limits(requests=4))
    for _ in range(2):
        fair.take_review("10.0.0.1")
    with pytest.raises(errors.TooManyRequests):
        fair.take_review("10.0.0.1")
    fair.take_review("10.0.0.2")


@pytest.mark.parametrize("connections", [16, 100, 384, 4096, 100_000])
def test_all_limits_together_leave_connections_for_newcomers(connections):
    limits = fairness.Limits().within(connections)
    fair = fairness.Fairness(limits)
    held = sum(
        fair.shares[kind].places + fair.shares[kind].reserved for kind in list(fair.shares)[:3]
    )
    assert held < connections
    if connections >= 4096:
        assert limits == fairness.Limits()
