"""Options of lists and watches: a real kube-apiserver, asked about ConfigMaps, and we answer alike.

Where we differ, the table says how and why.
"""

from __future__ import annotations

import contextlib
import dataclasses

import pytest
from support.kube import apiserver
from support.server import servers

from coredumpd.apiserver.machinery import options

URL = servers.BASE + "/namespaces/team-b/coredumpendpoints"
REFERENCE = "/api/v1/namespaces/default/configmaps"
FUTURE = str(2**63 - 1000)
# {now}, {token} and {future} are filled in for each server.
SAME = (
    "",
    "limit=-1",
    "limit=0",
    "limit=x",
    "limit=1.5",
    "limit=",
    "limit=99999999999999999999",
    "timeoutSeconds=x",
    "timeoutSeconds=-1",
    "timeoutSeconds=",
    "resourceVersion=",
    "resourceVersion=0",
    "resourceVersion={now}",
    "resourceVersion={now}&limit=1",
    "resourceVersion={future}",
    "resourceVersion={future}&resourceVersionMatch=NotOlderThan",
    "resourceVersion={now}&resourceVersionMatch=Exact",
    "resourceVersion={now}&resourceVersionMatch=NotOlderThan",
    "resourceVersionMatch=Exact",
    "resourceVersionMatch=NotOlderThan",
    "resourceVersionMatch=Nearly",
    "resourceVersionMatch=Nearly&resourceVersion={now}",
    "resourceVersionMatch=exact&resourceVersion={now}",
    "resourceVersionMatch=Exact&resourceVersion=0",
    "continue={token}",
    "continue={token}&limit=1",
    "continue={token}&resourceVersion=0",
    "continue={token}&resourceVersion={now}",
    "continue={token}&resourceVersionMatch=Exact",
    "continue={token}&resourceVersionMatch=Nearly",
    "continue={token}&resourceVersion={now}&resourceVersionMatch=Exact",
    "continue=forged",
    "continue=forged&resourceVersion={now}",
    "labelSelector=a%20b",
    "labelSelector=a=%25",
    "labelSelector=a,,b",
    "labelSelector=a,",
    "labelSelector=a%20in%20()",
    "labelSelector=a%20in(b,c)",
    "labelSelector=a%20notin%20(b),c,!d",
    "labelSelector=a%3E1",
    "labelSelector=a%3C1,b%3Dc",
    "labelSelector=a%3Ex",
    "labelSelector=%3D",
    "fieldSelector=spec.nothing%3Dx",
    "fieldSelector=nonsense",
    "fieldSelector=metadata.name%3Done",
    "fieldSelector=metadata.name%3Done,",
    "fieldSelector=metadata.name!%3Done",
    "fieldSelector=metadata.name%3Done,spec.nothing%3Dy",
)
WATCHES = (
    "resourceVersion={now}",
    "resourceVersion=0",
    "resourceVersion={now}&limit=-5",
    "resourceVersion={now}&limit=x",
    "resourceVersion={now}&continue={token}",
    "resourceVersion={now}&fieldSelector=spec.nothing%3Dx",
    "resourceVersion={now}&labelSelector=a%20b",
    "resourceVersion={now}&resourceVersionMatch=NotOlderThan",
    "resourceVersion={now}&resourceVersionMatch=Exact",
    "resourceVersionMatch=NotOlderThan",
)


@dataclasses.dataclass
class Side:
    client: servers.Client
    url: str
    now: str
    token: str

    def ask(self, query, method="GET", name=""):
        filled = query.format(now=self.now, token=self.token, future=FUTURE)
        return self.client.ask(method, f"{self.url}{name}?{filled}")


def side(client, url, body):
    for name in ("one", "two"):
        made = client.ask("POST", url, {**body, "metadata": {"name": name}})
        assert made.code in (201, 409), made.body
    first = client.ask("GET", f"{url}?limit=1").json["metadata"]
    return Side(client, url, first["resourceVersion"], first["continue"])


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    with apiserver.running(tmp_path_factory.mktemp("reference")) as client:
        yield side(client, REFERENCE, {})


@pytest.fixture
def ours(world):
    yield side(world.proxied("reader"), URL, {"spec": {"podUID": "1"}})
    world.proxied("reader").ask("DELETE", URL)


def shape(reply):
    """What a client acts on: code, reason, and the causes of a 422 or a 504."""
    if reply.code == 200:
        return 200, len(reply.json["items"])
    status = reply.json
    if reply.code in (422, 504):
        message = status["message"] if reply.code == 422 else status["message"].split(":")[:2]
        return reply.code, message, status["reason"], status["details"]
    return reply.code, status["reason"]


@pytest.mark.parametrize("query", SAME)
def test_a_list_is_answered_as_kube_apiserver_answers_it(reference, ours, query):
    theirs = reference.ask(query)
    if len(theirs.json.get("items", [])) > 2:
        pytest.fail("the reference has objects of its own")
    assert shape(ours.ask(query)) == shape(theirs)


@pytest.mark.parametrize("query", [query for query in SAME if "Exact" in query or "=x" in query])
def test_a_deletecollection_is_refused_as_kube_apiserver_refuses_it(reference, ours, query):
    theirs = reference.ask(query)
    if theirs.code != 200:  # both would delete
        assert shape(ours.ask(query, "DELETE")) == shape(reference.ask(query, "DELETE"))


@pytest.mark.parametrize("query", WATCHES)
def test_a_watch_is_begun_or_refused_as_kube_apiserver_does(reference, ours, query):
    codes = []
    for one in (ours, reference):
        filled = query.format(now=one.now, token=one.token, future=FUTURE)
        url = f"{one.url}?watch=true&timeoutSeconds=1&{filled}"
        with contextlib.closing(one.client.connect()) as connection:
            connection.request("GET", url, headers=one.client.headers)
            codes.append(connection.getresponse().status)
    assert codes[0] == codes[1]


@pytest.mark.parametrize("query", ["resourceVersion=0", "resourceVersion={now}", ""])
def test_a_get_with_a_revision_is_answered_alike(reference, ours, query):
    assert ours.ask(query, name="/one").code == reference.ask(query, name="/one").code == 200


def test_a_get_of_a_revision_to_come_is_answered_alike(reference, ours):
    query = "resourceVersion={future}"
    theirs, our = reference.ask(query, name="/one"), ours.ask(query, name="/one")
    assert shape(our) == shape(theirs)
    assert our.headers["Retry-After"] == theirs.headers["Retry-After"] == "1"


@pytest.mark.parametrize(
    ("query", "code", "native"),
    [
        # A number that cannot be read is the client's mistake; 1.20 calls it its own.
        ("resourceVersion=x", 400, 500),
        ("resourceVersion=-1", 400, 500),
        # 1.20 passes etcd's refusal on; 504 is what clients understand.
        ("resourceVersion={future}&resourceVersionMatch=Exact", 504, 500),
        ("resourceVersion={future}&limit=1", 504, 500),
        # 1.20 does not know the option; since 1.27 it is refused.
        ("sendInitialEvents=true", 422, 200),
        # A flag that is neither true nor false is a typo; natively it is true.
        ("allowWatchBookmarks=banana&watch=banana", 400, 200),
    ],
)
def test_where_we_differ_it_is_on_purpose(reference, ours, query, code, native):
    assert ours.ask(query).code == code
    if "watch" not in query:
        assert reference.ask(query).code == native


@pytest.mark.parametrize("kind", ["coredumpendpoints", "coredumps"])
@pytest.mark.parametrize("verb", ["list", "watch"])
def test_a_revision_to_come_is_504_of_both_kinds(world, kind, verb):
    client = world.proxied("reader")
    query = f"resourceVersion={FUTURE}" + ("&watch=true" if verb == "watch" else "")
    reply = client.ask("GET", f"{servers.BASE}/namespaces/team-b/{kind}?{query}")
    assert reply.code == 504
    assert reply.json["reason"] == "Timeout"
    assert reply.json["message"].startswith(f"Timeout: Too large resource version: {FUTURE}, ")
    assert reply.json["details"] == {
        "causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}],
        "retryAfterSeconds": 1,
    }
    assert reply.headers["Retry-After"] == "1"


def test_dumps_of_a_state_that_is_past_are_410(world):
    client = world.proxied("reader")
    url = f"{servers.BASE}/namespaces/team-b/coredumps"
    now = client.ask("GET", url).json["metadata"]["resourceVersion"]
    exact = f"{url}?resourceVersionMatch=Exact&resourceVersion="
    assert client.ask("GET", exact + now).code == 200
    assert client.ask("GET", exact + str(int(now) - 10**9)).code == 410


STARTS = (
    "",
    "/",
    "\0",
    "a\0b",
    "/coredumpendpoints/team-a/x",
    "~" * 5000,
    "team-a/",
    "ü/ü",
    "/" * 999,
)


@pytest.mark.parametrize("kind", ["coredumpendpoints", "coredumps"])
@pytest.mark.parametrize("start", STARTS, ids=ascii)
def test_a_forged_token_shows_nothing_of_others_and_breaks_nothing(world, kind, start):
    client = world.proxied("mallory")
    victim = servers.BASE + "/namespaces/team-a/coredumpendpoints"
    client.ask("POST", victim, {"metadata": {"name": "secret"}, "spec": {"podUID": "1"}})
    url = f"{servers.BASE}/namespaces/team-b/{kind}"
    now = int(client.ask("GET", url).json["metadata"]["resourceVersion"])
    for revision in (1, now, now + 10**15, 2**63 - 1):
        token = options.make_token(revision, start)
        for query in ("", "&limit=1", "&limit=-1"):
            reply = client.ask("GET", f"{url}?continue={token}{query}")
            assert reply.code in (200, 400, 410, 504), reply.body
            assert b"secret" not in reply.body
    client.ask("DELETE", victim)
