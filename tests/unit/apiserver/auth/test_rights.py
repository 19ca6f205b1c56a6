from __future__ import annotations

import pytest

from coredumpd.apiserver.auth import rights

RESOURCE = rights.Resource("g", "v1", "things")


@pytest.mark.parametrize(
    ("method", "parts", "query", "verb"),
    [
        ("GET", {"name": "x"}, {}, "get"),
        ("HEAD", {"name": "x"}, {}, "get"),
        ("GET", {}, {}, "list"),
        ("GET", {}, {"watch": "true"}, "watch"),
        ("GET", {}, {"watch": ""}, "watch"),
        ("GET", {}, {"watch": "0"}, "list"),
        ("POST", {}, {}, "create"),
        ("PUT", {"name": "x"}, {}, "update"),
        ("PATCH", {"name": "x"}, {}, "patch"),
        ("DELETE", {"name": "x"}, {}, "delete"),
        ("DELETE", {}, {}, "deletecollection"),
    ],
)
def test_methods_become_the_verbs_that_rbac_knows(method, parts, query, verb):
    asked = RESOURCE.attributes(method, "/", parts, query)
    assert (asked.verb, asked.group, asked.resource) == (verb, "g", "things")


@pytest.mark.parametrize(
    ("selector", "name"),
    [
        ("metadata.name=x", "x"),
        ("metadata.name==x", ""),
        ("metadata.name=x,metadata.namespace=y", ""),
        ("metadata.name!=x", ""),
        ("", ""),
    ],
)
def test_a_list_of_one_object_is_asked_for_by_its_name(selector, name):
    assert RESOURCE.attributes("GET", "/", {}, {"fieldSelector": selector}).name == name


def test_a_subresource_is_a_right_of_its_own():
    asked = rights.Resource("g", "v1", "things", "dump").attributes(
        "GET", "/", {"namespace": "n", "name": "x"}, {}
    )
    assert (asked.subresource, asked.namespace, asked.name) == ("dump", "n", "x")


def test_a_path_is_asked_for_as_a_path():
    asked = rights.Path().attributes("GET", "/metrics", {}, {})
    assert (asked.verb, asked.path, asked.resource) == ("get", "/metrics", "")
