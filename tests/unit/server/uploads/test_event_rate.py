from __future__ import annotations

import pytest
from support import clock as clocks

from coredumpd import errors
from coredumpd.server.uploads import event_rate


@pytest.fixture
def clock() -> clocks.Clock:
    return clocks.Clock()


def taken(take, *words, tries=100) -> int:
    count = 0
    for _ in range(tries):
        try:
            take(*words)
        except errors.TooManyRequests:
            continue
        count += 1
    return count


def test_a_node_has_its_events_of_a_minute_and_no_more(clock):
    rate = event_rate.Rate(20, clock)
    assert taken(rate.take_node, "a") == 20
    clock.now_s = 30.0
    assert taken(rate.take_node, "a") == 10
    clock.now_s = 3600.0
    assert taken(rate.take_node, "a") == 20


def test_another_node_has_its_own(clock):
    rate = event_rate.Rate(20, clock)
    taken(rate.take_node, "a")
    assert taken(rate.take_node, "b") == 20


def test_a_pod_has_a_quarter_of_its_nodes_and_its_neighbour_as_much(clock):
    rate = event_rate.Rate(20, clock)
    assert taken(rate.take_pod, "a", "one") == 5
    assert taken(rate.take_pod, "a", "other") == 5


def test_a_refusal_says_when_the_next_one_is_free(clock):
    rate = event_rate.Rate(4, clock)
    taken(rate.take_node, "a")
    with pytest.raises(errors.TooManyRequests, match="node 'a' has had its 4 Events") as refusal:
        rate.take_node("a")
    clock.now_s += refusal.value.retry_after_s
    rate.take_node("a")
