from __future__ import annotations

import contextlib
import json

import hypothesis
import pytest
from hypothesis import strategies as st

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


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1:" * 20_000 + "1", None),  # sexagesimal in YAML 1.1, and quadratic in PyYAML
        ("1:" * 20_000 + "1.5", None),
        ("yes", None),
        ("0x10", None),
        ("010", None),
        ("1_000", None),
        (".inf", None),
        ("2026-01-01", None),
        ("<<", None),
        ("=", None),
        ("True", None),
        ('"1"', "1"),
        ("true", True),
        ("~", None),
        ("-12", -12),
        ("1e3", 1000.0),
        ("-0.5", -0.5),
    ],
)
def test_a_yaml_word_means_what_it_means_in_json_or_itself(text, value):
    result = bodies.parse(f"a: {text}".encode(), "application/yaml")["a"]
    assert result == (text if value is None and text != "~" else value)


@pytest.mark.parametrize(
    "body",
    [
        b"a: &x 1",
        b"a: &x [1]",
        b"a: &x {b: 1}",
        b'a: !!int "1:1"',
        b'a: !!binary "eA=="',
        b"a: !!set {b}",
        b"!!map {a: 1}",
        b"a: !x 1",
        b"a: 1\n---\nb: 1",
        b"a: 1\na: 2",
        b"a: 1e999",
        b"a: " + b"9" * 5000,
        b"a: \x00",
        b"",
        b"[]",
        b"[" * 60_000,
        b"- " * 30_000,
        b"? " * 30_000,
        b"{a: " * 15_000,
    ],
)
def test_yaml_that_json_could_not_say_is_a_bad_request(body):
    with pytest.raises(errors.BadRequest):
        bodies.parse(body, "application/yaml")


def test_yaml_longer_than_64_kib_is_too_large():
    body = b"a: " + b"x" * (64 * 1024 - 3)
    assert bodies.parse(body, "application/yaml") == {"a": "x" * (64 * 1024 - 3)}
    with pytest.raises(errors.TooLarge, match="at most 65536 bytes"):
        bodies.parse(body + b"x", "application/yaml")


def test_a_number_that_no_float_holds_is_refused():
    with pytest.raises(errors.BadRequest, match="too large"):
        bodies.parse(b'{"a":1e999}', "application/json")


# libyaml wants keys of at most 1024 characters, and joins no surrogates.
TEXT = st.text(st.characters(max_codepoint=0xFFFF, exclude_categories=["Cs"]), max_size=50)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(-1e300, 1e300) | TEXT,
    lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner),
    max_leaves=10,
)


@hypothesis.given(st.dictionaries(TEXT, JSON))
def test_json_is_read_as_the_same_object_if_it_is_called_yaml(document):
    body = json.dumps(document).encode()
    assert bodies.parse(body, "application/json") == document
    assert bodies.parse(body, "application/yaml") == document


@hypothesis.given(st.binary(max_size=400) | st.text("[]{}:,-?&*!|>'\"%@`#~ \n\ta1").map(str.encode))
def test_any_bytes_are_an_object_or_an_error_of_the_client(body):
    for content_type in ("application/yaml", "application/json"):
        with contextlib.suppress(errors.BadRequest):
            assert isinstance(bodies.parse(body, content_type), dict)
