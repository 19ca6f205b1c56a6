from __future__ import annotations

import pytest

from coredumpd import errors
from coredumpd.apiserver.machinery import selectors

LABELS = {"app": "web", "tier": "front", "example.com/x": ""}


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("", True),
        ("app=web", True),
        ("app==web", True),
        ("app!=web", False),
        ("gone!=web", True),
        ("app", True),
        ("!app", False),
        ("!gone", True),
        ("app in (web, db)", True),
        ("app in (db)", False),
        ("app notin (db)", True),
        ("gone notin (db)", True),
        ("app=web,tier in (front,back)", True),
        ("app=web,tier=back", False),
        ("example.com/x=", True),
    ],
)
def test_label_selectors_hold_as_in_kubernetes(text, holds):
    assert selectors.labels(text).holds(LABELS) is holds


@pytest.mark.parametrize("text", ["=x", "a=b c", "a in b", "a,,b", "a/b/c=d", "a" * 20_000])
def test_a_malformed_selector_is_refused(text):
    with pytest.raises(errors.BadRequest):
        selectors.labels(text)


def test_only_supported_fields_select():
    assert selectors.fields("metadata.name=x", ("metadata.name",)).holds({"metadata.name": "x"})
    with pytest.raises(errors.BadRequest, match="not supported: spec"):
        selectors.fields("spec.x=1", ("metadata.name",))


def test_a_comma_in_parentheses_separates_values():
    selector = selectors.labels("app in (web,db),tier notin (back,x),!gone")
    assert len(selector.requirements) == 3
    assert selector.holds(LABELS)


@pytest.mark.parametrize("parse", [selectors.labels, lambda text: selectors.fields(text, ("a",))])
def test_more_than_a_hundred_requirements_are_refused(parse):
    assert len(parse(",".join(["a=b"] * 100)).requirements) == 100
    with pytest.raises(errors.BadRequest, match="more than 100 requirements"):
        parse(",".join(["a=b"] * 101))
    with pytest.raises(errors.BadRequest, match="more than 100 requirements"):
        parse("," * 9_999)


@pytest.mark.parametrize(
    ("text", "label", "holds"),
    [("a>1", "2", True), ("a>1", "1", False), ("a < 5", "-3", True), ("a<5", "x", False)],
)
def test_numbers_are_compared(text, label, holds):
    assert selectors.labels(text).holds({"a": label}) is holds
    assert not selectors.labels(text).holds({})


def test_a_bound_that_is_no_number_is_refused():
    with pytest.raises(errors.BadRequest):
        selectors.labels("a>b")


@pytest.mark.parametrize("text", ["app={0}", "app!={0}", "app in (web,{0})", "a=b,app=={0}"])
def test_a_value_longer_than_a_label_is_refused_and_names_the_fields(text):
    with pytest.raises(errors.BadRequest, match=r"63 characters.*fieldSelector: status.podName"):
        selectors.labels(text.format("x" * 64), ("status.podName",))
    selectors.labels(text.format("x" * 63))
