"""update, patch, delete and deletecollection of CoredumpEndpoint, as the API machinery does."""

from __future__ import annotations

import threading

import pytest
from support.server import servers

URL = servers.BASE + "/namespaces/team-b/coredumpendpoints"
MERGE = {"Content-Type": "application/merge-patch+json"}
JSON = {"Content-Type": "application/json-patch+json"}


@pytest.fixture
def client(world):
    made = world.proxied("writer")
    yield made
    for item in made.ask("GET", URL).json["items"]:
        path = f"{URL}/{item['metadata']['name']}"
        made.ask("PATCH", path, {"metadata": {"finalizers": None}}, MERGE)
        made.ask("DELETE", path)


def create(client, name="x", **meta):
    body = {"metadata": {"name": name, **meta}, "spec": {"podUID": "uid-1"}}
    reply = client.ask("POST", URL, body)
    assert reply.code == 201, reply.body
    return reply.json


def test_put_replaces_what_is_the_clients_and_keeps_what_is_the_systems(client):
    made = create(client, labels={"a": "1"})
    changed = {**made, "metadata": {**made["metadata"], "labels": {"b": "2"}}}
    reply = client.ask("PUT", f"{URL}/x", changed)
    assert reply.code == 200, reply.body
    meta = reply.json["metadata"]
    assert meta["labels"] == {"b": "2"}
    assert meta["uid"] == made["metadata"]["uid"]
    assert int(meta["resourceVersion"]) > int(made["metadata"]["resourceVersion"])


def test_a_put_that_changes_nothing_writes_nothing(client):
    made = create(client)
    reply = client.ask("PUT", f"{URL}/x", made)
    assert reply.json["metadata"]["resourceVersion"] == made["metadata"]["resourceVersion"]


def test_a_put_with_an_old_resource_version_is_409(client):
    made = create(client)
    client.ask("PATCH", f"{URL}/x", {"metadata": {"labels": {"a": "1"}}}, MERGE)
    reply = client.ask("PUT", f"{URL}/x", made)
    assert (reply.code, reply.json["reason"]) == (409, "Conflict")
    assert "please apply your changes to the latest version" in reply.json["message"]


def test_the_uid_of_the_pod_is_immutable(client):
    made = create(client)
    changed = {**made, "spec": {"podUID": "uid-2"}}
    reply = client.ask("PUT", f"{URL}/x", changed)
    assert (reply.code, reply.json["details"]["causes"][0]["field"]) == (422, "spec.podUID")
    kept = client.ask("PUT", f"{URL}/x", {**made, "spec": {"podUID": "__UID__"}})
    assert kept.json["spec"] == {"podUID": "uid-1"}


def test_a_put_under_another_name_is_400(client):
    made = create(client)
    assert client.ask("PUT", f"{URL}/y", made).code == 404
    create(client, "y")
    assert client.ask("PUT", f"{URL}/y", made).code == 400


def test_merge_and_json_patches(client):
    create(client, labels={"a": "1", "b": "2"})
    reply = client.ask("PATCH", f"{URL}/x", {"metadata": {"labels": {"a": None, "c": "3"}}}, MERGE)
    assert reply.json["metadata"]["labels"] == {"b": "2", "c": "3"}
    operations = [
        {"op": "test", "path": "/metadata/labels/b", "value": "2"},
        {"op": "add", "path": "/metadata/annotations", "value": {"note": "hi"}},
    ]
    reply = client.ask("PATCH", f"{URL}/x", operations, JSON)
    assert reply.json["metadata"]["annotations"] == {"note": "hi"}


@pytest.mark.parametrize(
    ("body", "headers", "code"),
    [
        ([{"op": "test", "path": "/spec/podUID", "value": "no"}], JSON, 422),
        ([{"op": "remove", "path": "/nowhere"}], JSON, 422),
        ([{"op": "dance", "path": "/spec"}], JSON, 400),
        ([7], JSON, 400),
        ({"op": "add"}, JSON, 400),
        ([], MERGE, 400),
        ({"spec": {"podUID": "uid-2"}}, MERGE, 422),
        ({"spec": {"color": "red"}}, MERGE, 400),
        ({"metadata": {"name": "other"}}, MERGE, 400),
        ({"metadata": {"resourceVersion": "1"}}, MERGE, 409),
        ({"metadata": {"labels": {"not a key": "x"}}}, MERGE, 422),
        ({"metadata": None}, MERGE, 422),
        ({}, {"Content-Type": "application/apply-patch+yaml"}, 415),
        ({}, {"Content-Type": "application/strategic-merge-patch+json"}, 415),
    ],
)
def test_a_patch_that_cannot_be_is_told_why(client, body, headers, code):
    create(client)
    reply = client.ask("PATCH", f"{URL}/x", body, headers)
    assert reply.code == code, reply.body
    assert reply.json["kind"] == "Status"


def test_patches_at_once_are_all_applied(client):
    create(client)
    replies = []

    def patch(number: int) -> None:
        body = {"metadata": {"annotations": {f"n{number}": "x"}}}
        replies.append(client.ask("PATCH", f"{URL}/x", body, MERGE).code)

    threads = [threading.Thread(target=patch, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert replies == [200] * 4
    annotations = client.ask("GET", f"{URL}/x").json["metadata"]["annotations"]
    assert sorted(annotations) == ["n0", "n1", "n2", "n3"]


def test_finalizers_hold_an_object_that_was_asked_to_go(client):
    create(client, finalizers=["example.com/wait"])
    held = client.ask("DELETE", f"{URL}/x")
    assert held.code == 200
    assert held.json["metadata"]["deletionTimestamp"]
    assert client.ask("GET", f"{URL}/x").code == 200
    more = {"metadata": {"finalizers": ["example.com/wait", "example.com/more"]}}
    assert client.ask("PATCH", f"{URL}/x", more, MERGE).code == 422
    assert client.ask("DELETE", f"{URL}/x").code == 200
    gone = client.ask("PATCH", f"{URL}/x", {"metadata": {"finalizers": None}}, MERGE)
    assert gone.code == 200
    assert client.ask("GET", f"{URL}/x").code == 404


def test_foreground_deletion_waits_for_the_garbage_collector(client):
    create(client)
    held = client.ask("DELETE", f"{URL}/x", {"propagationPolicy": "Foreground"})
    assert held.json["metadata"]["finalizers"] == ["foregroundDeletion"]
    assert client.ask("DELETE", f"{URL}/x?propagationPolicy=Sideways").code == 422


def test_preconditions_of_a_deletion(client):
    made = create(client)
    wrong = {"preconditions": {"uid": "other"}}
    assert client.ask("DELETE", f"{URL}/x", wrong).code == 409
    assert client.ask("DELETE", f"{URL}/x", {"preconditions": 7}).code == 400
    right = {"preconditions": {"uid": made["metadata"]["uid"]}}
    assert client.ask("DELETE", f"{URL}/x", right).code == 200


def test_dry_runs_change_nothing(client):
    made = create(client)
    dry = "?dryRun=All"
    patch = {"metadata": {"labels": {"a": "1"}}}
    reply = client.ask("PATCH", f"{URL}/x{dry}", patch, MERGE)
    assert reply.json["metadata"]["labels"] == {"a": "1"}
    assert client.ask("DELETE", f"{URL}/x{dry}").code == 200
    assert client.ask("DELETE", f"{URL}/x", {"dryRun": ["All"]}).code == 200
    assert client.ask("DELETE", f"{URL}{dry}").code == 200
    assert client.ask("GET", f"{URL}/x").json["metadata"] == made["metadata"]
    assert client.ask("DELETE", f"{URL}/x?dryRun=Some").code == 422


def test_a_collection_is_deleted_by_selector(client):
    for name in ("one", "two", "three"):
        create(client, name, labels={"odd": str(name != "two").lower()})
    reply = client.ask("DELETE", f"{URL}?labelSelector=odd%3Dtrue")
    assert {item["metadata"]["name"] for item in reply.json["items"]} == {"one", "three"}
    left = client.ask("GET", URL).json["items"]
    assert [item["metadata"]["name"] for item in left] == ["two"]


def test_a_generated_name_is_unique(client):
    body = {"metadata": {"generateName": "dump-"}, "spec": {"podUID": "1"}}
    names = {client.ask("POST", URL, body).json["metadata"]["name"] for _ in range(3)}
    assert len(names) == 3
    assert all(name.startswith("dump-") and len(name) == 10 for name in names)
