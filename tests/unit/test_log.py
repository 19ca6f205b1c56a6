from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from coredumpd import log


@given(st.text())
def test_whatever_is_logged_stays_one_printable_line(text: str) -> None:
    assert all(32 <= ord(char) < 127 for char in log.escape(text))


def test_a_newline_cannot_forge_a_second_entry() -> None:
    assert log.escape("a\n<0>b") == "a\\x0a<0>b"
