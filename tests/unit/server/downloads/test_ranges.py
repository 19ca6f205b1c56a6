from __future__ import annotations

import pytest

from coredumpd import errors
from coredumpd.server.downloads import ranges

TAG = '"abc"'


@pytest.mark.parametrize(
    ("header", "offset", "code", "first", "end"),
    [
        ("", 0, 200, 0, 100),
        ("", 30, 200, 30, 100),
        ("bytes=0-", 0, 206, 0, 100),
        ("bytes=0-0", 0, 206, 0, 1),
        ("bytes=90-200", 0, 206, 90, 100),
        ("bytes=-10", 0, 206, 90, 100),
        ("bytes=-1000", 0, 206, 0, 100),
        ("bytes=10-", 30, 206, 40, 100),
        ("bytes=5-1", 0, 200, 0, 100),
        ("bytes=0-1,5-6", 0, 200, 0, 100),
        ("lines=1-2", 0, 200, 0, 100),
        ("bytes=-", 0, 200, 0, 100),
    ],
)
def test_the_bytes_wanted(header, offset, code, first, end):
    headers = {"Range": header} if header else {}
    reply = ranges.decide(headers, offset, 100, TAG)
    assert (reply.code, reply.first, reply.end) == (code, first, end)
    assert int(reply.headers["Content-Length"]) == end - first


@pytest.mark.parametrize(("header", "offset"), [("bytes=100-", 0), ("bytes=-0", 0), ("", 101)])
def test_beyond_the_end_is_416(header, offset):
    with pytest.raises(errors.RangeNotSatisfiable):
        ranges.decide({"Range": header}, offset, 100, TAG)


def test_an_offset_is_another_representation_with_its_own_etag():
    assert ranges.decide({}, 7, 100, TAG).headers["ETag"] == '"abc-7"'
    assert ranges.decide({"If-None-Match": TAG}, 7, 100, TAG).code == 200


def test_preconditions():
    assert ranges.decide({"If-None-Match": 'W/"abc", "x"'}, 0, 100, TAG).code == 304
    assert ranges.decide({"If-None-Match": "*"}, 0, 100, TAG).code == 304
    assert ranges.decide({"Range": "bytes=1-2", "If-Range": TAG}, 0, 100, TAG).code == 206
    assert ranges.decide({"Range": "bytes=1-2", "If-Range": '"old"'}, 0, 100, TAG).code == 200
    with pytest.raises(errors.Conflict):
        ranges.decide({"If-Match": '"old"'}, 0, 100, TAG)
