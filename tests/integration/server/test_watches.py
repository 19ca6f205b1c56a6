"""Watches: every change, in order, with bookmarks, an honest end and 410."""

from __future__ import annotations

import functools

import pytest
from support import waiting
from support.server import servers

URL = servers.BASE + "/namespaces/team-b/coredumpendpoints"
MERGE = {"Content-Type": "application/merge-patch+json"}
LIST = "sendInitialEvents=true&resourceVersionMatch=NotOlderThan"


@pytest.fixture
def client(world):
    made = world.proxied("watcher")
    yield made
    made.ask("DELETE", URL)


@pytest.fixture
def watch(client, open_watch):
    return functools.partial(open_watch, client, URL)


def create(client, name, **labels):
    body = {"metadata": {"name": name, "labels": labels}, "spec": {"podUID": "1"}}
    return client.ask("POST", URL, body).json


def test_every_change_is_told_in_order(client, watch):
    revision = client.ask("GET", URL).json["metadata"]["resourceVersion"]
    watching = watch(f"resourceVersion={revision}")
    create(client, "a")
    client.ask("PATCH", f"{URL}/a", {"metadata": {"labels": {"x": "y"}}}, MERGE)
    client.ask("DELETE", f"{URL}/a")
    assert watching.wait(3) == [("ADDED", "a"), ("MODIFIED", "a"), ("DELETED", "a")]
    assert watching.revisions == sorted(set(watching.revisions))
    assert watching.events[0]["object"]["status"]["dumps"] == 0


def test_a_watch_without_a_revision_begins_with_what_is_there(client, watch):
    create(client, "a")
    watching = watch()
    assert watching.wait(1) == [("ADDED", "a")]
    create(client, "b")
    assert watching.wait(2) == [("ADDED", "a"), ("ADDED", "b")]


def test_initial_events_end_with_the_bookmark_that_informers_wait_for(client, watch):
    create(client, "a")
    watching = watch(f"{LIST}&allowWatchBookmarks=true")
    assert [kind for kind, _ in watching.wait(2)] == ["ADDED", "BOOKMARK"]
    end = watching.events[1]["object"]
    assert end["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
    assert int(end["metadata"]["resourceVersion"]) >= 1
    assert end["kind"] == "CoredumpEndpoint"
    create(client, "b")
    assert watching.wait(3)[2] == ("ADDED", "b")


@pytest.mark.parametrize(
    "query",
    [
        "sendInitialEvents=true",
        "sendInitialEvents=true&resourceVersionMatch=Exact",
        "resourceVersionMatch=NotOlderThan",
    ],
)
def test_options_that_kubernetes_refuses_are_422(client, query):
    reply = client.ask("GET", f"{URL}?watch=true&{query}")
    assert (reply.code, reply.json["reason"]) == (422, "Invalid")


@pytest.mark.parametrize("revision", ["1", "57", "1700000000000000000"])
def test_a_revision_of_an_earlier_store_is_410_as_an_event(client, watch, revision):
    create(client, "a")
    watching = watch(f"resourceVersion={revision}")
    assert watching.over.wait(10)
    (told,) = watching.events
    assert told["type"] == "ERROR"
    assert (told["object"]["code"], told["object"]["reason"]) == (410, "Expired")


def test_a_watch_ends_when_its_time_is_over_with_a_bookmark(client, watch):
    revision = create(client, "a")["metadata"]["resourceVersion"]
    watching = watch(f"resourceVersion={revision}&timeoutSeconds=1&allowWatchBookmarks=true")
    assert watching.over.wait(15)
    assert [event["type"] for event in watching.events] == ["BOOKMARK"]
    assert watching.events[0]["object"]["metadata"]["resourceVersion"] == revision


def test_entering_and_leaving_a_selector_is_added_and_deleted(client, watch):
    revision = create(client, "a")["metadata"]["resourceVersion"]
    watching = watch(f"resourceVersion={revision}&labelSelector=on%3Dyes")
    for value in ("yes", "no", "yes"):
        client.ask("PATCH", f"{URL}/a", {"metadata": {"labels": {"on": value}}}, MERGE)
    kinds = [kind for kind, _ in watching.wait(3)]
    assert kinds == ["ADDED", "DELETED", "ADDED"]


def test_one_object_is_watched_by_its_name(client, watch):
    watching = watch("fieldSelector=metadata.name%3Dmine")
    create(client, "other")
    create(client, "mine")
    assert watching.wait(1) == [("ADDED", "mine")]


def test_tables_and_metadata_are_watched_too(client, watch):
    create(client, "a")
    table = watch(headers={"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io"})
    create(client, "b")
    waiting.until("two tables", lambda: len(table.events) == 2, 10)
    first, second = (event["object"] for event in table.events)
    assert (first["kind"], first["rows"][0]["cells"][0]) == ("Table", "a")
    assert first["columnDefinitions"]
    assert not second["columnDefinitions"]
    partial = watch(
        headers={"Accept": "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io"}
    )
    partial.wait(2)
    assert partial.events[0]["object"]["kind"] == "PartialObjectMetadata"


def test_many_idle_watchers_are_told_and_leave_nothing_behind(world, client, watch):
    watching = [watch() for _ in range(50)]
    create(client, "a")
    for one in watching:
        assert one.wait(1) == [("ADDED", "a")]
    for one in watching:
        one.close()

    def active() -> bool:
        text = client.ask("GET", "/metrics").body.decode()
        line = next(
            line for line in text.splitlines() if line.startswith("coredumpd_server_active")
        )
        return float(line.split()[1]) <= 2

    waiting.until("the watches to be gone", active, 20)
