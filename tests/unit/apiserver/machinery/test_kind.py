from __future__ import annotations

import pytest

from coredumpd.apiserver.machinery import kind as kinds


def test_a_group_knows_its_places():
    group = kinds.Group("things.example.com", "v1beta1", ())
    assert group.group_version == "things.example.com/v1beta1"
    assert group.path == "/apis/things.example.com/v1beta1"
    assert group.schema_prefix == "com.example.things.v1beta1"


@pytest.mark.parametrize(
    ("obj", "value"),
    [
        ({"a": {"b": 1}}, 1),
        ({"a": {}}, None),
        ({"a": None}, None),
        ({"a": "text"}, None),
        ({}, None),
    ],
)
def test_a_missing_field_reads_as_none(obj, value):
    assert kinds.path("a", "b")(obj) == value


@pytest.mark.parametrize(
    ("timestamp", "age"),
    [
        ("2026-01-01T00:00:00Z", "1h"),
        ("2026-01-01T00:58:30Z", "1m30s"),
        ("2026-01-01T03:00:00Z", "0s"),
        ("2026-01-01T02:00:00+02:00", "1h"),
        ("", "<unknown>"),
        (None, "<unknown>"),
        ("yesterday", "<invalid>"),
    ],
)
def test_an_age_is_shown_as_kubectl_shows_it(timestamp, age):
    assert kinds.age(timestamp, now=1_767_225_600 + 3600) == age
