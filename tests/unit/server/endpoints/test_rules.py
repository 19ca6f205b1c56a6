from __future__ import annotations

from typing import Any

import pytest

from coredumpd import errors
from coredumpd.server.endpoints import rules


def body(name: str | None = "web-0", **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": name} if name else {}, "spec": spec}


def test_a_create_makes_an_object_of_the_namespace_it_is_sent_to() -> None:
    document = rules.new("team-a", body(podUID="uid-1"))
    assert document["metadata"]["namespace"] == "team-a"
    assert document["spec"] == {"podUID": "uid-1"}


@pytest.mark.parametrize("spec", [{}, {"podUID": ""}, {"podUID": rules.UID_PLACEHOLDER}])
def test_a_uid_that_is_not_given_is_left_to_the_server(spec: dict[str, Any]) -> None:
    assert rules.new("team-a", body(**spec))["spec"]["podUID"] is None


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        (body(podUID="a/b"), "spec.podUID"),
        (body(podUID=7), "spec.podUID"),
        (body(podUID="a", poduid="b"), "spec.poduid"),
        (body(name=None), "metadata.name"),
        ({"metadata": {"name": "web-0"}, "spec": "text"}, "spec"),
        ({}, "metadata"),
    ],
)
def test_a_body_that_breaks_a_rule_names_the_field(wrong: dict[str, Any], field: str) -> None:
    with pytest.raises(errors.Invalid) as caught:
        rules.new("team-a", wrong)
    assert field in [cause.field for cause in caught.value.causes]


def test_the_uid_cannot_be_changed_and_may_be_left_out() -> None:
    old = rules.new("team-a", body(podUID="uid-1"))
    old["metadata"]["resourceVersion"] = "5"
    assert rules.replaced(old, body()) == old
    with pytest.raises(errors.Invalid) as caught:
        rules.replaced(old, body(podUID="uid-2"))
    assert [cause.field for cause in caught.value.causes] == ["spec.podUID"]


def test_fields_that_no_endpoint_has_are_named() -> None:
    document = body(podUID="uid-1", poduid="uid-1", pod="x") | {"data": 1}
    assert sorted(rules.unknown_fields(document)) == ["data", "spec.pod"]


def test_a_body_of_another_kind_is_refused() -> None:
    with pytest.raises(errors.BadRequest, match="Coredump"):
        rules.check_type({"kind": "Pod"})
