from __future__ import annotations

import pytest

from coredumpd.server import kinds


def cells(kind, obj):
    return {column.name: column.cell(obj) for column in kind.columns}


def test_the_group_is_ours():
    assert kinds.API_GROUP.group_version == "coredump.fujitsu.com/v1alpha1"
    assert kinds.API_GROUP.schema_prefix == "com.fujitsu.coredump.v1alpha1"


def test_an_endpoint_shows_what_is_stored_for_its_pod():
    obj = {
        "metadata": {"name": "web-0"},
        "spec": {"podUID": "1234"},
        "status": {"dumps": 2, "bytes": 2048},
    }
    row = cells(kinds.ENDPOINT, obj)
    assert (row["Name"], row["Dumps"], row["Size"]) == ("web-0", 2, "2Ki")
    assert row["Last Crash"] == "<none>"


def test_a_coredump_shows_what_crashed():
    obj = {
        "metadata": {"name": "id"},
        "status": {
            "podName": "web-0",
            "signal": {"number": 11, "name": "SIGSEGV"},
            "core": {
                "size": 4096,
                "storedSize": 1024,
                "truncated": {"is": True, "reason": "limit"},
            },
        },
    }
    row = cells(kinds.COREDUMP, obj)
    assert (row["Pod"], row["Signal"], row["Size"]) == ("web-0", "SIGSEGV", "4Ki")
    assert (row["Stored"], row["Truncated"], row["Container"]) == ("1Ki", "limit", "<none>")


@pytest.mark.parametrize("kind", kinds.API_GROUP.kinds, ids=lambda kind: kind.kind)
def test_an_object_of_which_nothing_is_known_can_be_shown(kind):
    assert len(cells(kind, {"metadata": {}})) == len(kind.columns)
