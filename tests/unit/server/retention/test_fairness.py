from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as some

from coredumpd.server.retention import fairness

NAMESPACES = some.dictionaries(some.sampled_from("abcdefgh"), some.integers(0, 1000))


@given(NAMESPACES, some.integers(1, 5000))
def test_enough_is_given_and_by_nobody_who_holds_less_than_another_keeps(held, excess):
    cuts = fairness.cuts(held, excess)
    assert all(0 < cut <= held[name] for name, cut in cuts.items())
    assert sum(cuts.values()) >= min(excess, sum(held.values()))
    left = {name: size - cuts.get(name, 0) for name, size in held.items()}
    assert all(left[name] >= max(left.values(), default=0) for name in cuts)
    assert sum(cuts.values()) < excess + max(1, len(cuts))  # no more than rounding


def test_the_largest_gives_alone_while_it_holds_the_most():
    assert fairness.cuts({"a": 100, "b": 40, "c": 10}, 50) == {"a": 50}
    assert fairness.cuts({"a": 100, "b": 40, "c": 10}, 80) == {"a": 70, "b": 10}
    assert fairness.cuts({}, 10) == {}
