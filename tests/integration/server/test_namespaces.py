"""A tenant who is given the name of a former namespace, with the clocks on the attacker's side."""

from __future__ import annotations

import itertools

import pytest
from support import dumps, waiting
from support.server import servers

from coredumpd.formats import layout

_PROBES = itertools.count(100_000)
BORN, BORN_S = "2026-09-01T00:00:00Z", 1_788_220_800


@pytest.fixture
def tenant(world):
    """team-a was deleted and made again, for this tenant."""
    world.kube.namespace("team-a", "second-life", BORN)
    yield world.proxied("mallory")
    world.kube.namespace("team-a", "team-a-uid")
    for key in list(world.store.list()):
        world.store.delete(key)
    waiting.until("the present life", lambda: life_of(world) == "team-a-uid", 20)


def life_of(world):
    """The life that the server believes in: it remembers a namespace for some seconds."""
    for uid in ("team-a-uid", "second-life"):
        key, record, core = dumps.make(pid=next(_PROBES), namespaceUID=uid, pod_uid="probe")
        world.store.commit(key, record, core)
        reply = world.proxied("admin").ask("GET", f"{coredumps()}/{key.id}")
        world.store.delete(key)
        if reply.code == 200:
            return uid
    return None


def coredumps(namespace: str = "team-a") -> str:
    return f"{servers.BASE}/namespaces/{namespace}/coredumps"


def ids(reply: servers.Reply) -> list[str]:
    assert reply.code == 200, reply.body
    return [item["metadata"]["name"] for item in reply.json["items"]]


def assert_hidden(world, tenant, open_watch, key) -> None:
    watching = open_watch(tenant, coredumps(), "timeoutSeconds=6")
    assert key.id not in ids(tenant.ask("GET", coredumps()))
    assert key.id not in ids(tenant.ask("GET", f"{servers.BASE}/coredumps"))
    for path in ("", "/dump", "/proxy", "/backtrace"):
        assert tenant.ask("GET", f"{coredumps()}/{key.id}{path}").code == 404
    assert tenant.ask("DELETE", f"{coredumps()}/{key.id}").code == 404
    assert tenant.ask("DELETE", coredumps()).code == 200
    assert list(world.store.list(layout.Prefix("team-a"))) == [key]
    world.store.delete(key)  # as the collector does: its end is no news either
    assert watching.over.wait(30)
    names = [event["object"]["metadata"].get("name") for event in watching.events]
    assert key.id not in names


@pytest.mark.parametrize("after_s", [-100_000, 5, 299, 10_000_000])
def test_a_namespace_made_anew_has_nothing_of_the_old_one(world, tenant, open_watch, after_s):
    waiting.until("the new life", lambda: life_of(world) == "second-life", 20)
    made = dumps.make(time_s=BORN_S + after_s, namespaceUID="team-a-uid")
    world.store.commit(*made)
    assert_hidden(world, tenant, open_watch, made[0])


@pytest.mark.parametrize("after_s", [-100_000, 5, 299, 10_000_000])
def test_a_dump_of_no_proven_namespace_is_nowhere_to_be_seen(world, tenant, open_watch, after_s):
    waiting.until("the new life", lambda: life_of(world) == "second-life", 20)
    made = dumps.make(time_s=BORN_S + after_s, namespaceUID=None)
    world.store.commit(*made)
    assert_hidden(world, tenant, open_watch, made[0])


def test_an_endpoint_counts_and_downloads_nothing_of_the_old_one(world, tenant):
    waiting.until("the new life", lambda: life_of(world) == "second-life", 20)
    for number, uid in enumerate(("team-a-uid", None)):
        world.store.commit(*dumps.make(pid=number, namespaceUID=uid))
    url = f"{servers.BASE}/namespaces/team-a/coredumpendpoints"
    body = {"metadata": {"name": "web-0"}, "spec": {"podUID": dumps.POD_UID}}
    body |= {"apiVersion": "coredump.fujitsu.com/v1alpha1", "kind": "CoredumpEndpoint"}
    assert tenant.ask("POST", url, body).code == 201
    status = tenant.ask("GET", f"{url}/web-0").json["status"]
    assert (status["dumps"], status["bytes"]) == (0, 0)
    assert tenant.ask("GET", f"{url}/web-0/dump").code == 404
    tenant.ask("DELETE", f"{url}/web-0")
