from __future__ import annotations

import pytest

from coredumpd import errors
from coredumpd.apiserver.machinery import lifecycle

OLD = {
    "name": "x",
    "namespace": "n",
    "uid": "1",
    "resourceVersion": "7",
    "generation": 1,
    "creationTimestamp": "2026-01-01T00:00:00Z",
    "finalizers": ["example.com/f"],
}


def test_a_new_object_gets_what_only_the_system_may_set():
    meta = lifecycle.born({"labels": {"a": "b"}, "uid": "forged"}, "n", "x")
    assert meta["uid"] != "forged"
    assert (meta["name"], meta["namespace"], meta["generation"]) == ("x", "n", 1)
    assert meta["labels"] == {"a": "b"}


def test_an_update_changes_no_field_of_the_system():
    meta, causes = lifecycle.replaced(OLD, {**OLD, "uid": "2", "labels": {"a": "b"}})
    assert (meta["uid"], meta["labels"], causes) == ("1", {"a": "b"}, [])


def test_a_finalizer_cannot_be_added_once_deletion_began():
    waiting = {**OLD, "deletionTimestamp": "2026-01-02T00:00:00Z"}
    _, causes = lifecycle.replaced(waiting, {"finalizers": ["example.com/f", "example.com/g"]})
    assert [cause.value for cause in causes] == [["example.com/g"]]
    _, causes = lifecycle.replaced(waiting, {"finalizers": []})
    assert causes == []


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ({"name": "y"}, errors.BadRequest),
        ({"namespace": "m"}, errors.BadRequest),
        ({"uid": "2"}, errors.Conflict),
        ({"resourceVersion": "6"}, errors.Conflict),
    ],
)
def test_an_update_of_another_object_is_refused(change, kind):
    with pytest.raises(kind):
        lifecycle.check_identity("things", OLD, {**OLD, **change})


@pytest.mark.parametrize("field", ["uid", "resourceVersion"])
def test_a_precondition_that_does_not_hold_is_a_conflict(field):
    lifecycle.check_preconditions("things", OLD, {"preconditions": {field: OLD[field]}})
    with pytest.raises(errors.Conflict, match="Precondition failed"):
        lifecycle.check_preconditions("things", OLD, {"preconditions": {field: "0"}})


@pytest.mark.parametrize(
    ("options", "finalizer"),
    [
        ({}, None),
        ({"orphanDependents": True}, "orphan"),
        ({"propagationPolicy": "Foreground"}, "foregroundDeletion"),
        ({"propagationPolicy": "Background"}, None),
    ],
)
def test_a_propagation_policy_is_a_finalizer(options, finalizer):
    assert lifecycle.finalizer_of(options) == finalizer


@pytest.mark.parametrize("policy", ["Sideways", 7, []])
def test_an_unknown_propagation_policy_is_invalid(policy):
    with pytest.raises(errors.Invalid):
        lifecycle.finalizer_of({"propagationPolicy": policy})


def test_an_object_waits_for_its_finalizers_and_is_marked_once():
    waiting = lifecycle.marked_for_deletion(OLD, None)
    assert waiting is not None
    assert "deletionTimestamp" in waiting
    assert lifecycle.marked_for_deletion(waiting, "orphan") == waiting
    assert lifecycle.marked_for_deletion({"name": "x"}, None) is None


def test_generated_names_have_a_bounded_length():
    name = lifecycle.generated_name("x" * 300)
    assert len(name) == 253
    assert name.startswith("x" * 248)
