from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from coredumpd.formats import self_test

FIELDS = b"S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4711 20 21"


@given(st.binary(max_size=15))
def test_no_name_of_a_process_changes_its_mark(comm: bytes) -> None:
    mark = self_test.mark(4026531836, 7, b"7 (" + comm + b") " + FIELDS)
    assert mark == b"4026531836 7 4711\n"
    assert len(mark) <= self_test.BYTES_MAX


def test_another_namespace_pid_or_start_is_another_process() -> None:
    one = self_test.mark(1, 7, b"7 (x) " + FIELDS)
    other = b"7 (x) " + FIELDS.replace(b"4711", b"4712")
    marks = {
        one,
        self_test.mark(2, 7, b"7 (x) " + FIELDS),
        self_test.mark(1, 8, b"8 (x) " + FIELDS),
    }
    assert len(marks | {self_test.mark(1, 7, other)}) == 4


def test_a_cut_stat_file_names_nothing_that_a_whole_one_does() -> None:
    assert self_test.mark(1, 7, b"7 (x) S 1") == b"1 7 -\n"
