from __future__ import annotations

from coredumpd.apiserver.machinery import kind as kinds
from coredumpd.apiserver.rest import discovery

THING = kinds.Kind(
    kind="Thing",
    plural="things",
    singular="thing",
    short_names=("th",),
    verbs=("list", "get"),
    columns=(),
    subresources=(kinds.Subresource("log", ("get",), "Its log.", "text/plain"),),
    categories=("all",),
)
GROUP = kinds.Group("example.com", "v1", (THING,))


def test_the_resource_list_has_each_kind_and_subresource():
    resources = discovery.resource_list_document(GROUP)["resources"]
    assert [(resource["name"], resource["verbs"]) for resource in resources] == [
        ("things", ["get", "list"]),
        ("things/log", ["get"]),
    ]
    assert (resources[0]["shortNames"], resources[0]["categories"]) == (["th"], ["all"])


def test_the_group_names_its_version():
    document = discovery.group_document(GROUP)
    assert document["name"] == "example.com"
    assert document["preferredVersion"] == {"groupVersion": "example.com/v1", "version": "v1"}
    assert discovery.group_list_document(GROUP)["groups"] == [document]


def test_the_aggregated_document_says_the_same():
    document = discovery.aggregated_document(GROUP, "v2")
    assert document["apiVersion"] == "apidiscovery.k8s.io/v2"
    (version,) = document["items"][0]["versions"]
    (resource,) = version["resources"]
    assert resource["responseKind"] == {"group": "example.com", "version": "v1", "kind": "Thing"}
    assert (resource["resource"], resource["verbs"]) == ("things", ["get", "list"])
    assert [part["subresource"] for part in resource["subresources"]] == ["log"]
