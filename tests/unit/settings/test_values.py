from __future__ import annotations

import pytest

from coredumpd.settings import values


def test_true_is_no_number():
    parse, rule, _ = values.integer(0, 5)
    assert parse(5) == 5
    assert rule == "must be a whole number from 0 to 5"
    for value in (True, 6, -1, "3", 2.0):
        with pytest.raises(ValueError):  # noqa: PT011 (the rule is the caller's message)
            parse(value)


def test_a_size_has_its_least_value_in_the_rule():
    parse, rule, _ = values.size_from("4Mi")
    assert parse("4Mi") == 4 << 20
    assert rule.endswith("and at least 4Mi")
    with pytest.raises(ValueError):  # noqa: PT011 (the rule is the caller's message)
        parse("4Ki")
