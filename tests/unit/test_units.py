from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coredumpd import units


@pytest.mark.parametrize(
    ("text", "size"),
    [("0", 0), ("4096", 4096), (4096, 4096), ("2Gi", 2 << 30), ("1.5Gi", 3 << 29), ("1k", 1000)],
)
def test_a_quantity_is_read_as_kubernetes_writes_it(text: object, size: int) -> None:
    assert units.parse_quantity(text) == size


@pytest.mark.parametrize(
    "text", ["", "Gi", "2GB", "-1", "2 Gi", "1e3", True, None, 1.5, "9Pi9", "9999999999999Pi"]
)
def test_what_is_not_a_quantity_is_refused_with_the_rule(text: object) -> None:
    with pytest.raises(ValueError, match="must be a size"):
        units.parse_quantity(text)


@given(st.integers(0, 2**53))
def test_a_formatted_quantity_reads_back_within_a_tenth_of_its_unit(size: int) -> None:
    assert units.parse_quantity(units.format_quantity(size)) == pytest.approx(size, rel=0.06)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("0", 0), (0, 0), ("30s", 30), ("1h30m", 5400), ("500ms", 0.5), ("7d", 604800)],
)
def test_a_duration_is_read_as_go_writes_it(text: object, seconds: float) -> None:
    assert units.parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "5", "m5", "5m ", "5 m", "-5m", 5, True, None, "5mm"])
def test_what_is_not_a_duration_is_refused_with_the_rule(text: object) -> None:
    with pytest.raises(ValueError, match="must be a duration"):
        units.parse_duration(text)


def test_a_formatted_duration_shows_its_two_largest_units() -> None:
    assert units.format_duration(200) == "3m20s"
    assert units.format_duration(90061) == "1d1h"
    assert units.format_duration(0) == "0s"


def test_a_time_is_formatted_as_it_is_parsed() -> None:
    text = units.timestamp(1_767_225_600.9)
    assert text == "2026-01-01T00:00:00Z"
    assert units.parse_timestamp(text) == 1_767_225_600.0
    assert units.parse_timestamp("2026-01-01T01:00:00+01:00") == 1_767_225_600.0
    assert units.parse_timestamp("2026-01-01T00:00:00") == 1_767_225_600.0


@pytest.mark.parametrize("text", ["", "yesterday", None, 7])
def test_what_is_no_time_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match=r"RFC 3339|isoformat"):
        units.parse_timestamp(text)
