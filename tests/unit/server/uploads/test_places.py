from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as some

from coredumpd import errors
from coredumpd.server.uploads import places


def test_a_node_has_a_quarter_of_the_places():
    given_out = places.Places(8)
    given_out.take("a")
    given_out.take("a")
    with pytest.raises(errors.TooManyRequests, match="node 'a' sends 2 dumps already") as refusal:
        given_out.take("a")
    assert refusal.value.retry_after_s == places.RETRY_AFTER_S
    given_out.leave("a")
    given_out.take("a")


def test_the_last_place_is_not_for_a_node_that_has_one():
    given_out = places.Places(8)
    for node in "aabbccd":
        given_out.take(node)
    with pytest.raises(errors.TooManyRequests, match="never takes the last place"):
        given_out.take("d")
    given_out.take("e")


def test_without_a_free_place_everybody_has_to_wait():
    given_out = places.Places(1)
    given_out.take("a")
    with pytest.raises(errors.Unavailable):
        given_out.take("b")


@given(
    some.integers(1, 40),
    some.lists(some.tuples(some.booleans(), some.sampled_from("abcdef")), max_size=200),
)
def test_the_last_place_goes_to_a_node_that_has_none(total, steps):
    given_out = places.Places(total)
    held = dict.fromkeys("abcdef", 0)
    for takes, node in steps:
        if not takes:
            if held[node]:
                given_out.leave(node)
                held[node] -= 1
            continue
        free = total - sum(held.values())
        try:
            given_out.take(node)
        except (errors.TooManyRequests, errors.Unavailable):
            assert free == 0 or held[node]  # nobody is refused a free place as its first
            continue
        assert free > 1 or held[node] == 0
        held[node] += 1
        assert held[node] <= max(1, total // 4)
        assert given_out.taken == sum(held.values()) <= total
