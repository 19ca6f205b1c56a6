from __future__ import annotations

import pytest

from coredumpd.apiserver.machinery import kind as kinds
from coredumpd.apiserver.rest import operations


def group(*verbs: str) -> kinds.Group:
    thing = kinds.Kind("Thing", "things", "thing", (), verbs, (), ())
    return kinds.Group("example.com", "v1", (thing,))


@pytest.mark.parametrize(
    ("verb", "methods"),
    [
        ("list", ["get", "get"]),
        ("create", ["post"]),
        ("deletecollection", ["delete"]),
        ("get", ["get"]),
        ("update", ["put"]),
        ("patch", ["patch"]),
        ("delete", ["delete"]),
        ("watch", []),
    ],
)
def test_a_verb_allows_its_operations_and_no_others(verb, methods):
    assert [operation.method for operation in operations.of(group(verb))] == methods


def test_a_list_takes_the_parameters_of_a_watch_only_if_the_kind_can_be_watched():
    def names(*verbs):
        return {
            parameter.name
            for operation in operations.of(group(*verbs))
            for parameter in operation.parameters
        }

    assert names("list", "watch") - names("list") == {
        "watch",
        "allowWatchBookmarks",
        "sendInitialEvents",
    }
