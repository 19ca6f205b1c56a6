from __future__ import annotations

import pytest

from coredumpd.apiserver.machinery import lifecycle, metadata


@pytest.mark.parametrize(
    ("meta", "field"),
    [
        ({"name": 7}, "metadata.name"),
        ({"labels": []}, "metadata.labels"),
        ({"labels": {"a b": "c"}}, "metadata.labels"),
        ({"labels": {"a": "b c"}}, "metadata.labels[a]"),
        ({"labels": {"a": 1}}, "metadata.labels[a]"),
        ({"labels": {"a": "x" * 64}}, "metadata.labels[a]"),
        ({"annotations": {"a": 1}}, "metadata.annotations[a]"),
        ({"annotations": {"a": "x" * 300_000}}, "metadata.annotations"),
        ({"finalizers": "x"}, "metadata.finalizers"),
        ({"finalizers": [1]}, "metadata.finalizers[0]"),
        ({"ownerReferences": {}}, "metadata.ownerReferences"),
        ({"ownerReferences": [{"kind": "x"}]}, "metadata.ownerReferences[0].apiVersion"),
    ],
)
def test_a_broken_rule_names_its_field(meta, field):
    assert field in [cause.field for cause in metadata.problems(meta)]


def test_good_metadata_breaks_no_rule():
    owner = {"apiVersion": "v1", "kind": "Pod", "name": "x", "uid": "1", "controller": True}
    meta = {
        "name": "x",
        "labels": {"example.com/a": "b", "c": ""},
        "annotations": {"a": "anything at all"},
        "finalizers": ["example.com/f"],
        "ownerReferences": [owner],
    }
    assert metadata.problems(meta) == []


def test_an_object_without_finalizers_can_go_at_once():
    assert lifecycle.marked_for_deletion({"name": "x"}, None) is None
    waiting = lifecycle.marked_for_deletion({"name": "x"}, "orphan")
    assert waiting is not None
    assert waiting["finalizers"] == ["orphan"]
