from __future__ import annotations

import json

import pytest

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
