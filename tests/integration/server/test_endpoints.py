"""CoredumpEndpoint through HTTP."""

from __future__ import annotations

import pytest
from support import dumps
from support.server import servers

URL = servers.BASE + "/namespaces/team-a/coredumpendpoints"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"


def endpoint(name: str = "web-0", **spec: object) -> dict[str, object]:
    return {
        "apiVersion": "coredump.fujitsu.com/v1alpha1",
        "kind": "CoredumpEndpoint",
        "metadata": {"name": name},
        "spec": spec,
    }


@pytest.fixture(autouse=True)
def _clean(world):
    yield
    for item in world.proxied().ask("GET", URL).json["items"]:
        world.proxied().ask("DELETE", f"{URL}/{item['metadata']['name']}")


def test_an_endpoint_is_created_read_listed_and_deleted(world, stored):
    client = world.proxied()
    made = client.ask("POST", URL, endpoint(podUID=dumps.POD_UID))
    assert made.code == 201, made.body
    read = client.ask("GET", f"{URL}/web-0").json
    assert read["spec"] == {"podUID": dumps.POD_UID}
    assert read["status"]["dumps"] == 2
    assert read["status"]["podExists"] is False
    assert [entry["name"] for entry in read["status"]["containers"]] == ["app", "side"]
    listing = client.ask("GET", URL).json
    assert (listing["kind"], len(listing["items"])) == ("CoredumpEndpointList", 1)
    everywhere = client.ask("GET", servers.BASE + "/coredumpendpoints").json
    assert [item["metadata"]["uid"] for item in everywhere["items"]] == [read["metadata"]["uid"]]
    gone = client.ask("DELETE", f"{URL}/web-0")
    assert (gone.code, gone.json["status"]) == (200, "Success")
    assert client.ask("GET", f"{URL}/web-0").code == 404


def test_creating_it_again_is_409(world):
    world.proxied().ask("POST", URL, endpoint(podUID="1234-5678"))
    reply = world.proxied().ask("POST", URL, endpoint(podUID="1234-5678"))
    assert (reply.code, reply.json["reason"]) == (409, "AlreadyExists")


def test_the_living_pod_supplies_the_uid(world):
    world.kube.pod("team-a", "alive-0", "uid-of-alive")
    for spec in ({}, {"podUID": "__UID__"}, {"podUID": ""}, {"poduid": "__UID__"}):
        reply = world.proxied().ask("POST", URL, endpoint("alive-0", **spec))
        assert reply.code == 201, reply.body
        assert reply.json["spec"] == {"podUID": "uid-of-alive"}
        read = world.proxied().ask("GET", f"{URL}/alive-0").json
        assert read["status"]["podExists"] is True
        world.proxied().ask("DELETE", f"{URL}/alive-0")


def test_no_uid_and_no_pod_is_422_that_says_how_to_find_the_uid(world):
    reply = world.proxied().ask("POST", URL, endpoint("gone-0", podUID="__UID__"))
    assert (reply.code, reply.json["reason"]) == (422, "Invalid")
    cause = reply.json["details"]["causes"][0]
    assert (cause["field"], cause["reason"]) == ("spec.podUID", "FieldValueRequired")
    assert "kubectl get events" in cause["message"]


@pytest.mark.parametrize("uid", ["../../etc", "a/b", "a b", "x" * 129, 12345678, "é", {"a": 1}])
def test_a_malformed_uid_is_422_naming_the_field(world, uid):
    reply = world.proxied().ask("POST", URL, endpoint(podUID=uid))
    assert (reply.code, reply.json["reason"]) == (422, "Invalid")
    assert reply.json["details"]["causes"][0]["field"] == "spec.podUID"
    assert reply.json["details"]["name"] == "web-0"


def test_the_ancestors_spelling_is_accepted(world):
    reply = world.proxied().ask("POST", URL, endpoint(poduid="1234-5678"))
    assert reply.json["spec"] == {"podUID": "1234-5678"}


def test_a_typo_in_a_field_is_refused(world):
    reply = world.proxied().ask("POST", URL, endpoint(podUid="1234"))
    assert reply.code == 400
    assert 'unknown field "spec.podUid"' in reply.json["message"]


def test_a_yaml_body_is_taken(world):
    body = b"metadata: {name: web-0}\nspec: {podUID: 1234-5678}\n"
    reply = world.proxied().ask("POST", URL, body, {"Content-Type": "application/yaml"})
    assert reply.code == 201, reply.body


@pytest.mark.parametrize(
    ("body", "kind", "code"),
    [
        (b"{", "application/json", 400),
        (b"[]", "application/json", 400),
        (b'{"a":1,"a":2}', "application/json", 400),
        (b"a: &x 1\nb: *x", "application/yaml", 400),
        (b"[" * 100_000, "application/json", 400),
        (b"{}", "application/xml", 415),
        (b"{}", "application/json", 422),
        (b" " * 1_100_000, "application/json", 413),
    ],
)
def test_a_bad_body_is_a_status_with_the_right_code(world, body, kind, code):
    reply = world.proxied().ask("POST", URL, body, {"Content-Type": kind})
    assert reply.code == code
    assert reply.json["kind"] == "Status"
    assert reply.json["code"] == code


def test_a_namespace_that_is_not_there_is_404(world):
    url = servers.BASE + "/namespaces/nowhere/coredumpendpoints"
    reply = world.proxied().ask("POST", url, endpoint(podUID="1234"))
    assert reply.code == 404
    assert 'namespaces "nowhere" not found' in reply.json["message"]


def test_a_namespace_that_is_being_deleted_takes_nothing_new(world):
    world.kube.namespace("leaving", "uid-leaving")
    world.kube.objects["/api/v1/namespaces/leaving"]["status"] = {"phase": "Terminating"}
    url = servers.BASE + "/namespaces/leaving/coredumpendpoints"
    assert world.proxied().ask("POST", url, endpoint(podUID="1234")).code == 403


def test_kubectl_gets_a_table(world, stored):
    world.proxied().ask("POST", URL, endpoint(podUID=dumps.POD_UID))
    table = world.proxied().ask("GET", URL, headers={"Accept": TABLE}).json
    columns = [column["name"] for column in table["columnDefinitions"]]
    assert columns == ["Name", "Pod UID", "Dumps", "Size", "Last Crash", "Age"]
    assert table["rows"][0]["cells"][:3] == ["web-0", dumps.POD_UID, 2]
    assert table["rows"][0]["object"]["metadata"]["name"] == "web-0"


def test_garbage_collectors_get_metadata_alone(world):
    client = world.proxied()
    client.ask("POST", URL, endpoint(podUID="1234-5678"))
    for path, shape in (
        (URL, "PartialObjectMetadataList"),
        (f"{URL}/web-0", "PartialObjectMetadata"),
    ):
        accept = {"Accept": f"application/json;as={shape};g=meta.k8s.io;v=v1"}
        found = client.ask("GET", path, headers=accept).json
        assert (found["kind"], found["apiVersion"]) == (shape, "meta.k8s.io/v1")
        (entry,) = found.get("items", [found])
        assert entry["metadata"]["name"] == "web-0"
        assert "spec" not in entry


def test_what_cannot_be_represented_is_406(world):
    headers = {"Accept": "application/vnd.kubernetes.protobuf"}
    assert world.proxied().ask("GET", URL, headers=headers).code == 406


def test_a_dry_run_changes_nothing(world):
    assert world.proxied().ask("POST", URL + "?dryRun=All", endpoint(podUID="1")).code == 201
    assert world.proxied().ask("GET", f"{URL}/web-0").code == 404


def test_pages_hold_all_objects_once(world):
    for number in range(5):
        world.proxied().ask("POST", URL, endpoint(f"p-{number}", podUID="1"))
    names, token = [], ""
    for _ in range(5):
        listing = world.proxied().ask("GET", f"{URL}?limit=2&continue={token}").json
        names += [item["metadata"]["name"] for item in listing["items"]]
        token = listing["metadata"].get("continue", "")
        if not token:
            break
    assert names == [f"p-{number}" for number in range(5)]


def test_field_and_label_selectors_select(world):
    client = world.proxied()
    for name in ("one", "two"):
        body = endpoint(name, podUID="1")
        body["metadata"] |= {"labels": {"app": name}}
        client.ask("POST", URL, body)

    def names(query: str) -> list[str]:
        found = client.ask("GET", f"{URL}?{query}").json["items"]
        return [item["metadata"]["name"] for item in found]

    assert names("fieldSelector=metadata.name%3Dtwo") == ["two"]
    assert names("labelSelector=app%3Done") == ["one"]
    assert names("labelSelector=app%20in%20(one,two)") == ["one", "two"]
    assert names("labelSelector=!app") == []
    assert client.ask("GET", f"{URL}?fieldSelector=spec.color%3Dred").code == 400


def test_a_method_that_is_not_there_is_405(world):
    for method, path in (("PUT", URL), ("POST", f"{URL}/x"), ("POST", f"{URL}/x/dump")):
        reply = world.proxied().ask(method, path, {})
        assert (reply.code, reply.json["reason"]) == (405, "MethodNotAllowed")


def test_every_write_is_audited(world):
    world.proxied("writer").ask("POST", URL, endpoint(podUID="1"), {"Audit-Id": "audit-me-1"})
    entry = world.server.audited("audit-me-1")
    told = {name: entry[name] for name in ("user", "verb", "resource", "namespace", "code")}
    assert told == {
        "user": "writer",
        "verb": "create",
        "resource": "coredumpendpoints",
        "namespace": "team-a",
        "code": 201,
    }
