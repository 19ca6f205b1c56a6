"""What kube-apiserver and kubectl ask before anything else."""

from __future__ import annotations

import pytest
from support.server import servers

AGGREGATED = "application/json;g=apidiscovery.k8s.io;v={};as=APIGroupDiscoveryList"


def test_the_resources_of_the_version(world):
    document = world.proxied().ask("GET", servers.BASE).json
    assert document["groupVersion"] == "coredump.fujitsu.com/v1alpha1"
    assert "coredumpendpoints/dump" in [entry["name"] for entry in document["resources"]]


def test_groups_are_listed(world):
    assert world.proxied().ask("GET", "/apis").json["kind"] == "APIGroupList"
    assert world.proxied().ask("GET", "/apis/coredump.fujitsu.com").json["kind"] == "APIGroup"


@pytest.mark.parametrize("version", ["v2", "v2beta1"])
def test_aggregated_discovery_echoes_its_media_type_and_has_an_etag(world, version):
    headers = {"Accept": AGGREGATED.format(version)}
    reply = world.proxied().ask("GET", "/apis", headers=headers)
    assert reply.code == 200
    assert reply.json["items"][0]["versions"][0]["freshness"] == "Current"
    for part in ("g=apidiscovery.k8s.io", f"v={version}", "as=APIGroupDiscoveryList"):
        assert part in reply.headers["Content-Type"]
    headers["If-None-Match"] = reply.headers["ETag"]
    assert world.proxied().ask("GET", "/apis", headers=headers).code == 304


def test_aggregated_discovery_says_what_the_resource_list_says(world):
    client = world.proxied()
    plain = {entry["name"]: entry for entry in client.ask("GET", servers.BASE).json["resources"]}
    headers = {"Accept": AGGREGATED.format("v2")}
    (group,) = client.ask("GET", "/apis", headers=headers).json["items"]
    (version,) = group["versions"]
    assert (group["metadata"]["name"], version["version"]) == ("coredump.fujitsu.com", "v1alpha1")
    told = {}
    for entry in version["resources"]:
        same = plain[entry["resource"]]
        assert entry["responseKind"]["kind"] == same["kind"]
        assert entry["scope"] == "Namespaced"
        assert entry["singularResource"] == same["singularName"]
        assert entry["shortNames"] == same["shortNames"]
        told[entry["resource"]] = entry["verbs"]
        for part in entry["subresources"]:
            told[f"{entry['resource']}/{part['subresource']}"] = part["verbs"]
    assert told == {name: entry["verbs"] for name, entry in plain.items()}


def test_a_discovery_that_is_not_offered_is_406_never_404(world):
    headers = {"Accept": AGGREGATED.format("v9")}
    assert world.proxied().ask("GET", "/apis", headers=headers).code == 406


def test_what_kube_apiserver_136_asks_is_answered(world):
    accept = ",".join([AGGREGATED.format("v9"), AGGREGATED.format("v2beta1"), "application/json"])
    assert world.proxied().ask("GET", "/apis", headers={"Accept": accept}).code == 200


def test_openapi_has_both_versions_and_etags(world):
    two = world.proxied().ask("GET", "/openapi/v2")
    assert two.json["swagger"] == "2.0"
    again = {"If-None-Match": two.headers["ETag"]}
    assert world.proxied().ask("GET", "/openapi/v2", headers=again).code == 304
    root = world.proxied().ask("GET", "/openapi/v3").json["paths"]
    url = root["apis/coredump.fujitsu.com/v1alpha1"]["serverRelativeURL"]
    assert world.proxied().ask("GET", url).json["openapi"] == "3.0.0"


def test_openapi_as_protobuf_is_406_and_json_is_taken_beside_it(world):
    protobuf = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"
    client = world.proxied()
    assert client.ask("GET", "/openapi/v2", headers={"Accept": protobuf}).code == 406
    both = {"Accept": f"{protobuf},application/json;q=0.5"}
    assert client.ask("GET", "/openapi/v2", headers=both).json["swagger"] == "2.0"


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/healthz"])
def test_probes_say_ok_or_name_every_check(world, path):
    checks = {"ping"} if path == "/livez" else {"ping", "store", "objects", "shutdown", "trust"}
    assert world.client().ask("GET", path).body == b"ok"
    *lines, end = world.client().ask("GET", f"{path}?verbose").body.decode().splitlines()
    assert end == f"{path[1:]} check passed"
    assert {line.removeprefix("[+]").removesuffix(" ok") for line in lines} == checks
    fewer = world.client().ask("GET", f"{path}?verbose&exclude=ping").body
    assert b"[+]ping" not in fewer


def test_the_version_is_told(world):
    assert world.proxied().ask("GET", "/version").json["gitVersion"].startswith("v")


def test_who_is_hung_up_on_behind_an_early_answer_is_told(world):
    client = world.proxied()
    early = client.ask("GET", servers.BASE + "/coredumps?limit=1&limit=2")
    assert (early.code, early.headers["Connection"]) == (400, "close")
    assert client.ask("GET", servers.BASE).headers["Connection"] is None
