from __future__ import annotations

import pytest

from coredumpd import errors
from coredumpd.apiserver.machinery import tables

COLUMNS = (tables.Column("Name", "string", "Its name.", lambda obj: obj["metadata"]["name"]),)
OBJ = {"metadata": {"name": "x"}, "spec": {}}


@pytest.mark.parametrize(
    ("include", "shown"),
    [
        ("None", None),
        ("Object", OBJ),
        (
            "Metadata",
            {
                "kind": "PartialObjectMetadata",
                "apiVersion": "meta.k8s.io/v1",
                "metadata": {"name": "x"},
            },
        ),
    ],
)
def test_a_row_includes_as_much_of_the_object_as_the_client_asks(include, shown):
    (row,) = tables.table(COLUMNS, [OBJ], {}, include=include)["rows"]
    assert row["cells"] == ["x"]
    assert row.get("object") == shown


def test_another_word_is_refused():
    with pytest.raises(errors.BadRequest, match="includeObject"):
        tables.table(COLUMNS, [OBJ], {}, include="Everything")


def test_a_later_event_of_a_watch_repeats_no_columns():
    assert tables.table(COLUMNS, [], {})["columnDefinitions"][0]["name"] == "Name"
    assert tables.table(COLUMNS, [], {}, headless=True)["columnDefinitions"] == []


def test_a_partial_list_has_metadata_alone():
    document = tables.partial_list([OBJ], {"resourceVersion": "7"})
    assert document["metadata"] == {"resourceVersion": "7"}
    assert [item["metadata"] for item in document["items"]] == [{"name": "x"}]
    assert "spec" not in document["items"][0]
