"""Coredump: the inventory through HTTP."""

from __future__ import annotations

import io
import json
import tarfile

import pytest
from support import dumps, keys, sealed, waiting
from support.server import servers

from coredumpd.formats import layout

URL = servers.BASE + "/namespaces/team-b/coredumps"
EVERYWHERE = servers.BASE + "/coredumps"
WIDE = "application/json;as=Table;v=v1;g=meta.k8s.io"


@pytest.fixture
def client(world):
    made = world.proxied("reader")
    yield made
    made.ask("DELETE", URL)


@pytest.fixture
def crash(world):
    def commit(content=b"core", **fields):
        key, entry, core = dumps.make(content, namespace="team-b", **fields)
        world.store.commit(key, entry, core)
        return key

    return commit


def names(reply):
    assert reply.code == 200, reply.body
    return [item["metadata"]["name"] for item in reply.json["items"]]


def listed(client, count, query=""):
    """Names, as soon as there are so many: a listing may be a second old."""

    def all_there() -> list[str] | None:
        found = names(client.ask("GET", URL + query))
        return found if len(found) == count else None

    return waiting.until(f"{count} dumps", all_there, 10)


def test_a_crash_is_seen_without_creating_anything(client, crash):
    key = crash(exe="web", pid=7)
    assert listed(client, 1) == [key.id]
    entry = client.ask("GET", f"{URL}/{key.id}").json
    assert (entry["kind"], entry["metadata"]["name"]) == ("Coredump", key.id)
    assert entry["metadata"]["labels"] == {
        "coredump.fujitsu.com/pod": "web-0",
        "coredump.fujitsu.com/container": "app",
        "coredump.fujitsu.com/node": "node1",
        "coredump.fujitsu.com/signal": "SIGSEGV",
        "coredump.fujitsu.com/exe": "web",
    }
    assert entry["status"]["process"]["pid"] == 7
    assert entry["status"]["podUID"] == dumps.POD_UID


def test_a_new_crash_is_found_by_name_at_once(client, crash):
    assert client.ask("GET", f"{URL}/nothing").code == 404
    key = crash(pid=8)
    assert client.ask("GET", f"{URL}/{key.id}").code == 200


def test_labels_and_fields_select(client, crash):
    one, two = crash(exe="one", pid=1), crash(exe="two", pid=2, pod_uid="other-uid")
    listed(client, 2)
    label = "?labelSelector=coredump.fujitsu.com/exe%3Done"
    assert names(client.ask("GET", URL + label)) == [one.id]
    assert names(client.ask("GET", f"{URL}?fieldSelector=status.podUID%3Dother-uid")) == [two.id]
    assert names(client.ask("GET", f"{URL}?fieldSelector=status.podName%3Dweb-0")) == [
        one.id,
        two.id,
    ]


def test_pods_with_long_names_are_told_apart(world, client, crash):
    stem = "rolebinding-team-payments-settlement-usage-export-worker-7d9f8b6c5d-"
    one = crash(pid=1, podName=stem + "x2x4z", pod_uid="one")
    two = crash(pid=2, podName=stem + "q8w7e", pod_uid="two")
    listed(client, 2)
    labels = {
        item["metadata"]["name"]: item["metadata"]["labels"]["coredump.fujitsu.com/pod"]
        for item in client.ask("GET", URL).json["items"]
    }
    assert len(set(labels.values())) == 2
    reply = client.ask("DELETE", f"{URL}?labelSelector=coredump.fujitsu.com/pod%3D{stem}x2x4z")
    assert reply.code == 400
    assert "status.podName" in reply.json["message"]
    query = f"?fieldSelector=status.podName%3D{stem}x2x4z"
    assert names(client.ask("GET", URL + query)) == [one.id]
    client.ask("DELETE", f"{URL}?labelSelector=coredump.fujitsu.com/pod%3D{labels[one.id]}")
    assert list(world.store.list(layout.Prefix("team-b"))) == [two]


def test_pages_hold_every_dump_once_over_all_namespaces(client, crash, stored):
    for pid in range(5):
        crash(pid=pid)
    listed(client, 5)
    found, token = [], ""
    while True:
        page = client.ask("GET", f"{EVERYWHERE}?limit=3&continue={token}").json
        found += [(i["metadata"]["namespace"], i["metadata"]["name"]) for i in page["items"]]
        token = page["metadata"].get("continue", "")
        if not token:
            break
    assert len(found) == len(set(found)) == 7
    assert found == sorted(found)


def test_the_table_has_the_columns_people_look_for(client, crash):
    crash(b"x" * 2048, exe="web")
    listed(client, 1)
    table = client.ask("GET", URL, headers={"Accept": WIDE}).json
    columns = [column["name"] for column in table["columnDefinitions"]]
    assert columns[:7] == ["Name", "Pod", "Container", "Signal", "Executable", "Size", "Age"]
    assert table["rows"][0]["cells"][1:6] == ["web-0", "app", "SIGSEGV", "/bin/web", "2Ki"]


def test_a_dump_is_downloaded_by_its_own_name(client, crash):
    key = crash(b"just this one", pid=1)
    crash(b"not this one", pid=2)
    for subresource in ("dump", "proxy"):
        reply = client.ask("GET", f"{URL}/{key.id}/{subresource}")
        with tarfile.open(fileobj=io.BytesIO(reply.body)) as tar:
            core = tar.extractfile(f"app/{key.id}/core").read()
        assert core == b"just this one"


def test_a_backtrace_is_404_with_a_reason_until_there_is_one(world, client, crash):
    key = crash()
    reply = client.ask("GET", f"{URL}/{key.id}/backtrace")
    assert reply.code == 404
    assert "it has not been analysed" in reply.json["message"]
    (world.directory / "store" / str(key) / "backtrace.txt").write_text("#0 main\n")
    reply = client.ask("GET", f"{URL}/{key.id}/backtrace")
    assert (reply.code, reply.body) == (200, b"#0 main\n")


def test_a_sealed_dump_has_no_backtrace_and_says_why(world, client):
    made = sealed.make(b"core", keys.age(), namespace="team-b", pid=77)
    world.store.commit(*made)
    reply = client.ask("GET", f"{URL}/{made[0].id}/backtrace")
    assert reply.code == 404
    assert "it is encrypted" in reply.json["message"]


def test_the_right_to_backtraces_is_not_the_right_to_dumps(world, client, crash):
    key = crash()
    world.kube.may = lambda spec: (
        spec["user"] != "analyst"
        or spec.get("resourceAttributes", {}).get("subresource") == "backtrace"
    )
    try:
        analyst = world.proxied("analyst")
        assert analyst.ask("GET", f"{URL}/{key.id}/backtrace").code == 404
        assert analyst.ask("GET", f"{URL}/{key.id}/dump").code == 403
        assert analyst.ask("GET", f"{URL}/{key.id}").code == 403
    finally:
        world.kube.may = lambda spec: True


def test_deleting_one_deletes_the_bytes(world, client, crash):
    key = crash()
    wrong = {"preconditions": {"uid": "other"}}
    assert client.ask("DELETE", f"{URL}/{key.id}", wrong).code == 409
    assert client.ask("DELETE", f"{URL}/{key.id}?dryRun=All").code == 200
    assert list(world.store.list(layout.Prefix("team-b"))) == [key]
    assert client.ask("DELETE", f"{URL}/{key.id}").code == 200
    assert list(world.store.list(layout.Prefix("team-b"))) == []
    assert client.ask("GET", f"{URL}/{key.id}").code == 404


def test_a_collection_is_deleted_by_label(world, client, crash):
    kept = crash(exe="keep", pid=1)
    crash(exe="drop", pid=2)
    listed(client, 2)
    client.ask("DELETE", f"{URL}?labelSelector=coredump.fujitsu.com/exe%3Ddrop")
    assert list(world.store.list(layout.Prefix("team-b"))) == [kept]


@pytest.mark.parametrize(("method", "path"), [("POST", ""), ("PUT", "/x"), ("PATCH", "/x")])
def test_what_crashes_make_cannot_be_made_or_changed(client, method, path):
    headers = {"Content-Type": "application/merge-patch+json"} if method == "PATCH" else {}
    assert client.ask(method, URL + path, {}, headers).code == 405


def test_dumps_that_come_and_go_are_watched(world, client, crash):
    first = crash(pid=1)
    listed(client, 1)
    connection = client.connect()
    query = "?watch=true&allowWatchBookmarks=true&timeoutSeconds=8"
    connection.request("GET", URL + query, headers=client.headers)
    lines = iter(connection.getresponse())
    assert json.loads(next(lines))["object"]["metadata"]["name"] == first.id
    second = crash(pid=2)
    event = json.loads(next(lines))
    assert (event["type"], event["object"]["metadata"]["name"]) == ("ADDED", second.id)
    client.ask("DELETE", f"{URL}/{first.id}")
    event = json.loads(next(lines))
    assert (event["type"], event["object"]["metadata"]["name"]) == ("DELETED", first.id)
    assert json.loads(next(lines))["type"] == "BOOKMARK"
    connection.close()


def test_initial_events_of_dumps_end_with_the_bookmark_too(client, crash, open_watch):
    first = crash(pid=1)
    listed(client, 1)
    query = "sendInitialEvents=true&resourceVersionMatch=NotOlderThan"
    watching = open_watch(client, URL, f"{query}&allowWatchBookmarks=true")
    assert [kind for kind, _ in watching.wait(2)] == ["ADDED", "BOOKMARK"]
    assert watching.events[0]["object"]["metadata"]["name"] == first.id
    end = watching.events[1]["object"]
    assert end["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
    assert end["kind"] == "Coredump"
    assert client.ask("GET", f"{URL}?watch=true&sendInitialEvents=true").code == 422


def test_a_revision_of_an_earlier_life_is_410(client):
    connection = client.connect()
    connection.request("GET", URL + "?watch=true&resourceVersion=5", headers=client.headers)
    event = json.loads(connection.getresponse().readline())
    connection.close()
    assert (event["type"], event["object"]["code"]) == ("ERROR", 410)
