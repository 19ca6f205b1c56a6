from __future__ import annotations

import pytest
from tornado import httputil

from coredumpd.apiserver.http import framing


@pytest.mark.parametrize(
    ("lines", "field"),
    [
        ([], None),
        ([("Content-Length", "0")], None),
        ([("Content-Length", "10737418240")], None),
        ([("Transfer-Encoding", "chunked")], None),
        ([("Transfer-Encoding", "Chunked")], None),
        ([("Content-Length", "0, 0")], "Content-Length"),
        ([("Content-Length", "0"), ("Content-Length", "0")], "Content-Length"),
        ([("Content-Length", "+5")], "Content-Length"),
        ([("Content-Length", "-1")], "Content-Length"),
        ([("Content-Length", "0x5")], "Content-Length"),
        ([("Content-Length", "5_0")], "Content-Length"),
        ([("Content-Length", "")], "Content-Length"),
        ([("Content-Length", "9" * 19)], "Content-Length"),
        ([("Content-Length", "\xb2")], "Content-Length"),
        ([("Transfer-Encoding", "gzip, chunked")], "Transfer-Encoding"),
        ([("Transfer-Encoding", "xchunked")], "Transfer-Encoding"),
        ([("Transfer-Encoding", "chunked"), ("Transfer-Encoding", "chunked")], "Transfer-Encoding"),
        ([("Content-Length", "5"), ("Transfer-Encoding", "chunked")], "Content-Length"),
    ],
)
def test_a_body_whose_end_is_in_doubt_is_refused(lines, field):
    headers = httputil.HTTPHeaders()
    for name, value in lines:
        headers.add(name, value)
    problem = framing.problem(headers)
    assert (problem.causes[0].field if problem else None) == field


def test_a_head_of_too_many_lines_is_not_even_parsed():
    assert framing.parse_head(len, b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 1024 + b"\r\n")
    with pytest.raises(httputil.HTTPInputError, match="more than 1024 header lines"):
        framing.parse_head(len, b"GET / HTTP/1.1\r\n" + b"a:\r\n" * 30_000)
