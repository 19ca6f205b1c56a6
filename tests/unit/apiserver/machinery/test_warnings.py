from __future__ import annotations

import re

import hypothesis
from hypothesis import strategies as st

from coredumpd.apiserver.machinery import warnings

HEADER = re.compile(r'299 - "(?:[ !#-\[\]-~]|\\["\\])*"')


def test_a_warning_is_a_quoted_string():
    assert list(warnings.headers(['a "b" \\ c', "ü\n"])) == [
        r'299 - "a \"b\" \\ c"',
        '299 - "??"',
    ]


def test_seventy_thousand_warnings_are_fifty_and_the_last_counts_the_rest():
    headers = list(warnings.headers(f"unknown field {n}" for n in range(70_000)))
    assert len(headers) == warnings.HEADERS_MAX
    assert headers[-1] == '299 - "69951 more warnings are left out"'


@hypothesis.given(st.lists(st.text(max_size=600), max_size=80))
def test_all_warnings_together_have_at_most_4_kib(texts):
    headers = list(warnings.headers(texts))
    assert len(headers) <= warnings.HEADERS_MAX
    assert sum(map(len, headers)) <= warnings.BYTES_MAX
    assert all(HEADER.fullmatch(header) for header in headers)
