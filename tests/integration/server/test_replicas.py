"""Two servers on one etcd are one API: each sees what the other writes, and etcd may restart."""

from __future__ import annotations

import concurrent.futures
import contextlib
import json

import psutil
import pytest
import yaml
from support import dumps, pki, waiting
from support.kube import controlplane
from support.server import servers
from support.storage import etcd

from coredumpd.store import engines as stores

URL = servers.BASE + "/namespaces/team-a/coredumpendpoints"
MERGE = {"Content-Type": "application/merge-patch+json"}
UNTIL_S = 30.0


class Replicas:
    """Two servers with the same configuration, and what is around them."""

    def __init__(self, program, directory, kube, cluster):
        serving = pki.Authority(directory, "serving-ca")
        certificate, key = serving.issue("coredumpd")
        access = cluster.access()
        settings = {
            "server": {
                "store": f"file://{directory}/store",
                "objects": cluster.url(),
                "port": 0,
                "tlsCertFile": str(certificate),
                "tlsKeyFile": str(key),
                "shutdownDelay": "0",
            },
            "etcd": {"caFile": access.caFile, "credentialsDir": access.credentialsDir},
        }
        (directory / "store").mkdir()
        config = directory / "config.yaml"
        config.write_text(yaml.safe_dump(settings))
        self.arguments = ["--config", str(config), "--kubeconfig", str(kube.kubeconfig())]
        self.program = program
        self.directory = directory
        self.etcd = cluster
        self.ca_file = serving.file
        self.front = kube.proxy_ca.issue("front-proxy-client")

    def client(self, server):
        return servers.Client(server.port, self.ca_file, self.front, {"X-Remote-User": "alice"})


@pytest.fixture(scope="module")
def replicas(program, tmp_path_factory):
    directory = tmp_path_factory.mktemp("replicas")
    (directory / "etcd").mkdir()
    cluster = etcd.Cluster(directory / "etcd")
    try:
        with controlplane.ControlPlane(directory) as kube:
            yield Replicas(program, directory, kube, cluster)
    finally:
        cluster.stop()


@pytest.fixture(scope="module")
def two(replicas):
    with (
        servers.running(replicas.program, replicas.arguments, replicas.directory / "1.log") as one,
        servers.running(replicas.program, replicas.arguments, replicas.directory / "2.log") as two,
    ):
        pair = replicas.client(one), replicas.client(two)
        for client in pair:
            until_ready(client)
        yield pair


@pytest.fixture(autouse=True)
def _clean(two):
    yield
    assert two[0].ask("DELETE", URL).code == 200


def until_ready(client):
    def ready():
        with contextlib.suppress(OSError):
            return client.ask("GET", "/readyz").code == 200

    waiting.until("a ready server", ready, UNTIL_S, 0.1)


def endpoint(name):
    return {
        "apiVersion": "coredump.fujitsu.com/v1alpha1",
        "kind": "CoredumpEndpoint",
        "metadata": {"name": name},
        "spec": {"podUID": "1234-5678"},
    }


@pytest.fixture
def watch(open_watch):
    return lambda client, query="": open_watch(client, URL, query)


def test_what_one_writes_the_other_reads_at_once(two):
    one, other = two
    for number in range(5):
        name = f"web-{number}"
        made = one.ask("POST", URL, endpoint(name))
        assert made.code == 201, made.body
        read = other.ask("GET", f"{URL}/{name}")
        assert read.code == 200, read.body
        assert read.json["metadata"] == made.json["metadata"]
    assert [item["metadata"]["name"] for item in other.ask("GET", URL).json["items"]] == [
        f"web-{number}" for number in range(5)
    ]
    assert other.ask("POST", URL, endpoint("web-0")).code == 409
    assert other.ask("DELETE", f"{URL}/web-0").code == 200
    assert one.ask("GET", f"{URL}/web-0").code == 404


def test_what_one_writes_a_watch_at_the_other_is_told(two, watch):
    one, other = two
    told = watch(other)
    one.ask("POST", URL, endpoint("web-0"))
    patch = {"metadata": {"labels": {"a": "b"}}}
    assert one.ask("PATCH", f"{URL}/web-0", patch, MERGE).code == 200
    one.ask("DELETE", f"{URL}/web-0")
    assert told.wait(3) == [("ADDED", "web-0"), ("MODIFIED", "web-0"), ("DELETED", "web-0")]
    assert told.revisions == sorted(set(told.revisions))


def test_a_watch_continues_at_the_other_where_it_stood(two, watch):
    one, other = two
    first = watch(one)
    other.ask("POST", URL, endpoint("web-0"))
    first.wait(1)
    first.close()
    one.ask("POST", URL, endpoint("web-1"))
    second = watch(other, f"resourceVersion={first.revisions[-1]}")
    other.ask("POST", URL, endpoint("web-2"))
    assert second.wait(2) == [("ADDED", "web-1"), ("ADDED", "web-2")]


def test_of_two_writers_with_one_resource_version_one_is_told_409(two):
    made = two[0].ask("POST", URL, endpoint("web-0")).json

    def write(number):
        changed = json.loads(json.dumps(made))
        changed["metadata"]["labels"] = {"writer": str(number)}
        return two[number % 2].ask("PUT", f"{URL}/web-0", changed).code

    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        codes = sorted(pool.map(write, range(6)))
    assert codes == [200, 409, 409, 409, 409, 409]


def test_a_list_begun_at_one_is_continued_at_the_other(two):
    one, other = two
    for number in range(5):
        one.ask("POST", URL, endpoint(f"web-{number}"))
    first = one.ask("GET", f"{URL}?limit=2").json
    one.ask("POST", URL, endpoint("web-9"))
    token = first["metadata"]["continue"]
    rest = other.ask("GET", f"{URL}?limit=9&continue={token}").json
    names = [item["metadata"]["name"] for item in first["items"] + rest["items"]]
    assert names == [f"web-{number}" for number in range(5)]


def test_a_dumps_revision_is_one_servers_own_and_another_answers_410(replicas, two, open_watch):
    opened = stores.open_store(f"file://{replicas.directory}/store")
    url = servers.BASE + "/namespaces/team-a/coredumps"

    def stored(pid):
        key, entry, core = dumps.make(pid=pid)
        opened.commit(key, entry, core)
        return key.id

    def listed(client, name):
        """The list's revision, once `name` is in it."""

        def ask():
            found = client.ask("GET", url).json
            names = [item["metadata"]["name"] for item in found["items"]]
            return name in names and found["metadata"]["resourceVersion"]

        return waiting.until(f"{name} in a list", ask, UNTIL_S)

    for number, (one, other) in enumerate((two, two[::-1])):
        revision = listed(one, stored(10 + number))
        second = stored(20 + number)
        listed(other, second)  # so the other is at a later revision than the client, not behind it
        told = open_watch(other, url, f"resourceVersion={revision}")
        assert told.over.wait(UNTIL_S)
        assert [event["object"].get("reason") for event in told.events] == ["Expired"]
        assert open_watch(one, url, f"resourceVersion={revision}").wait(1) == [("ADDED", second)]
        assert one.ask("DELETE", url).code == 200


def test_etcd_restarts_under_both_and_nothing_is_lost(replicas, two, watch):
    one, other = two
    told = watch(other)
    one.ask("POST", URL, endpoint("web-0"))
    told.wait(1)
    replicas.etcd.kill(0)
    away = one.ask("GET", f"{URL}/web-0")
    assert (away.code, away.json["reason"]) == (503, "ServiceUnavailable")
    assert one.ask("POST", URL, endpoint("web-1")).code == 503
    ready = other.ask("GET", "/readyz?verbose")
    assert ready.code == 503
    assert b"[-]objects" in ready.body
    assert other.ask("GET", "/livez").code == 200
    replicas.etcd.start(0)
    until_ready(one)
    until_ready(other)
    assert other.ask("GET", f"{URL}/web-0").code == 200
    assert one.ask("POST", URL, endpoint("web-2")).code == 201
    assert told.wait(2)[-1] == ("ADDED", "web-2")


def test_a_replica_that_is_killed_takes_nothing_along(replicas, two):
    log = replicas.directory / "3.log"
    with servers.running(replicas.program, replicas.arguments, log) as third:
        client = replicas.client(third)
        until_ready(client)
        assert client.ask("POST", URL, endpoint("web-0")).code == 201
        # The onefile executable runs in a child of its launcher.
        for process in psutil.Process(third.process.pid).children(recursive=True):
            process.kill()
        third.process.kill()
        third.process.wait(10)
    assert two[0].ask("GET", f"{URL}/web-0").code == 200


def test_what_was_before_a_server_started_is_410_there(replicas, two, open_watch):
    before = two[0].ask("GET", URL).json["metadata"]["resourceVersion"]
    assert two[0].ask("POST", URL, endpoint("web-0")).code == 201
    log = replicas.directory / "4.log"
    with servers.running(replicas.program, replicas.arguments, log) as late:
        client = replicas.client(late)
        until_ready(client)
        told = open_watch(client, URL, f"resourceVersion={before}")
        assert told.over.wait(UNTIL_S)
        assert [event["object"].get("code") for event in told.events] == [410]
