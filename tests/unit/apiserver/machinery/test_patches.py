from __future__ import annotations

import json

import hypothesis
import pytest
from hypothesis import strategies as st

from coredumpd import errors
from coredumpd.apiserver.machinery import patches


# RFC 7386, appendix A.
@pytest.mark.parametrize(
    ("target", "patch", "result"),
    [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_merge_patches_as_the_rfc_has_them(target, patch, result):
    before = json.dumps(target)
    assert patches.parse(json.dumps(patch).encode(), patches.MERGE)(target) == result
    assert json.dumps(target) == before


def test_a_json_patch_leaves_the_original_alone():
    target = {"a": {"b": [1]}}
    change = patches.parse(b'[{"op":"add","path":"/a/b/-","value":2}]', patches.JSON)
    assert change(target) == {"a": {"b": [1, 2]}}
    assert target == {"a": {"b": [1]}}


@pytest.mark.parametrize(
    ("operations", "kind"),
    [
        (b'[{"op":"test","path":"/a","value":9}]', errors.Invalid),
        (b'[{"op":"remove","path":"/x/y"}]', errors.Invalid),
        (b'[{"op":"replace","path":"","value":[]}]', errors.Invalid),
        (b'[{"op":"fly","path":"/a"}]', errors.BadRequest),
        (b"[1]", errors.BadRequest),
        (b'[{"path":"/a"}]', errors.BadRequest),
    ],
)
def test_a_json_patch_that_fails_says_why(operations, kind):
    with pytest.raises(kind):
        patches.parse(operations, patches.JSON)({"a": 1})


def test_server_side_apply_is_refused_with_a_sentence():
    with pytest.raises(errors.UnsupportedMediaType, match="server-side apply is not offered"):
        patches.parse(b"{}", "application/apply-patch+yaml")


def patch(operations, target):
    return patches.parse(json.dumps(operations).encode(), patches.JSON)(target)


def copies(count, source="/a"):
    return [{"op": "copy", "from": source, "path": f"/{number}"} for number in range(count)]


@pytest.mark.parametrize(
    "operations",
    [
        copies(30, ""),  # each doubles the object
        [{"op": "copy", "from": f"/{n}", "path": f"/{n + 1}/-"} for n in range(30)] + copies(999),
        [{"op": "add", "path": "/b", "value": ["x" * 400_000]}, *copies(9, "/b")],
        [{"op": "add", "path": "/b", "value": [[]] * 100_000}]
        + [{"op": "copy", "from": "/b/0", "path": "/b/0"}] * 3
        + copies(4, "/b"),
        [{"op": "add", "path": "/b", "value": "x" * 600_000}, *copies(1, "/b")],
    ],
)
def test_a_patch_that_grows_the_object_beyond_a_body_is_refused(operations):
    with pytest.raises(errors.Invalid):
        patch(operations, {"a": ["x" * 1000], "0": [], "1": []})


def test_what_a_patch_copies_has_a_budget_even_if_it_is_removed_again():
    rounds = [{"op": "copy", "from": "/a", "path": "/b"}, {"op": "remove", "path": "/b"}]
    target = {"a": "x" * 500_000}
    assert patch(rounds * 6, target) == target
    with pytest.raises(errors.Invalid, match=r"copies 3500014 bytes: more than 3145728"):
        patch(rounds * 7, target)


def test_a_patch_that_removes_as_much_as_it_adds_has_no_budget():
    value = "x" * 100_000
    rounds = [{"op": "add", "path": "/b", "value": value}, {"op": "remove", "path": "/b"}]
    replaced = [{"op": "replace", "path": "/a", "value": value}]
    assert patch((rounds + replaced) * 4, {"a": value * 9}) == {"a": value}


@pytest.mark.parametrize(
    "operations",
    [
        [{"op": "copy", "from": "/a", "path": "/a/a"}] * 3000,
        [
            {"op": "add", "path": "/b", "value": {}},
            {"op": "move", "from": "/a", "path": "/b/a"},
            {"op": "move", "from": "/b", "path": "/a"},
        ]
        * 3000,
    ],
)
def test_a_patch_that_nests_deeper_than_a_body_may_is_refused(operations):
    with pytest.raises(errors.Invalid, match="deeper than 64 levels"):
        patch(operations, {"a": {}})


def test_more_than_ten_thousand_operations_are_too_many():
    operations = [{"op": "test", "path": "/a", "value": 1}] * 10_001
    with pytest.raises(errors.TooLarge, match="10000, got 10001"):
        patch(operations, {"a": 1})
    assert patch(operations[1:], {"a": 1}) == {"a": 1}


def test_a_merge_patch_that_makes_the_object_longer_than_a_body_is_refused():
    change = patches.parse(json.dumps({"b": "x" * 600_000}).encode(), patches.MERGE)
    with pytest.raises(errors.Invalid, match="longer than 1048576 bytes"):
        change({"a": "x" * 600_000})


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "append", "path": "/a", "value": "x"},  # jsonpatch's own, not of the RFC
        {"op": ["add"], "path": "/a", "value": "x"},
        {"op": "add", "path": 1, "value": "x"},
        {"op": "copy", "path": "/a"},
        {"op": "copy", "from": 1, "path": "/a"},
        {"op": "test"},
    ],
)
def test_an_operation_that_the_rfc_does_not_have_is_malformed(operation):
    with pytest.raises(errors.BadRequest):
        patch([operation], {"a": "b"})


def test_the_value_of_a_failed_test_is_not_in_the_message():
    with pytest.raises(errors.Invalid) as caught:
        patch([{"op": "test", "path": "/a", "value": "x" * 100_000}], {"a": "secret"})
    assert str(caught.value) == "the patch's test of '/a' failed"


PATHS = st.sampled_from(["", "/a", "/b", "/a/x", "/b/-", "/b/0", "/a/x/y"])
VALUES = st.recursive(
    st.none() | st.integers() | st.text(max_size=2000),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from("xyz"), inner),
    max_leaves=8,
)
OPERATIONS = st.fixed_dictionaries(
    {
        "op": st.sampled_from(["add", "remove", "replace", "move", "copy", "test"]),
        "path": PATHS,
        "from": PATHS,
        "value": VALUES,
    }
)


@hypothesis.given(st.lists(OPERATIONS, max_size=40))
def test_every_patch_ends_in_a_bounded_object_or_an_error_of_the_client(operations):
    target = {"a": {"x": {}}, "b": [1, 2]}
    before = json.dumps(target)
    try:
        result = patch(operations, target)
    except (errors.BadRequest, errors.Invalid):
        result = {}
    assert len(json.dumps(result, ensure_ascii=False)) <= patches.OBJECT_BYTES_MAX
    assert json.dumps(target) == before
