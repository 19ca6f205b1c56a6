from __future__ import annotations

import pytest

from coredumpd import errors
from coredumpd.apiserver.machinery import bodies


def test_yaml_makes_only_what_json_has():
    body = b"metadata: {creationTimestamp: 2026-01-01T00:00:00Z}\nn: 1"
    assert bodies.parse(body, "application/yaml") == {
        "metadata": {"creationTimestamp": "2026-01-01T00:00:00Z"},
        "n": 1,
    }


@pytest.mark.parametrize(
    "body", [b"a: *b", b"? [x]\n: y", b"1: x", b"- x", b"!!python/object:os.system {}", b"\xff\xfe"]
)
def test_yaml_that_is_not_json_is_refused(body):
    with pytest.raises(errors.BadRequest):
        bodies.parse(body, "application/yaml")


@pytest.mark.parametrize("body", [b'{"a":NaN}', b'{"a":1,"a":2}', b"{", b"null", b"\xff", b""])
def test_bad_json_is_refused(body):
    with pytest.raises(errors.BadRequest):
        bodies.parse(body, "application/json")


def test_deep_nesting_is_refused():
    with pytest.raises(errors.BadRequest, match="nested deeper"):
        bodies.parse(b'{"a":' * 80 + b"1" + b"}" * 80, "application/json")


def test_another_content_type_is_415():
    with pytest.raises(errors.UnsupportedMediaType):
        bodies.parse(b"{}", "application/xml")
