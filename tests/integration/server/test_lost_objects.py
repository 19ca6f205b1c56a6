"""The objects' store is lost, or restored from a backup: clients are told 410, never nothing."""

from __future__ import annotations

import contextlib
import shutil

import pytest
from support import waiting
from support.kube import controlplane
from support.server import servers, watches
from support.storage import etcd

URL = servers.BASE + "/namespaces/team-a/coredumpendpoints"
MERGE = {"Content-Type": "application/merge-patch+json"}
UNTIL_S = 60.0


class Place:
    """A server's configuration, of a server that is started again and again."""

    def __init__(self, program, directory, kube, objects, access=None):
        etcd_ca = None if access is None else access.caFile
        self._arguments, self._ca_file = servers.configured(directory, objects, etcd_ca)
        self._arguments += ["--kubeconfig", str(kube.kubeconfig())]
        self._front = kube.proxy_ca.issue("front-proxy-client")
        self._program, self._directory = program, directory

    @contextlib.contextmanager
    def serving(self):
        """A client of a server that runs while the block does."""
        log = self._directory / "server.log"
        with servers.running(self._program, self._arguments, log) as server:
            headers = {"X-Remote-User": "alice"}
            client = servers.Client(server.port, self._ca_file, self._front, headers)
            until_ready(client)
            yield client


def until_ready(client):
    def ready():
        with contextlib.suppress(OSError):
            return client.ask("GET", "/readyz").code == 200

    waiting.until("a ready server", ready, UNTIL_S, 0.1)


@pytest.fixture
def kube(tmp_path):
    with controlplane.ControlPlane(tmp_path) as kube:
        yield kube


@pytest.fixture
def place(program, tmp_path, kube):
    return Place(program, tmp_path, kube, f"sqlite:///{tmp_path}/objects.db")


def create(client, *names):
    """Creates objects; returns the last one's resourceVersion."""
    for name in names:
        body = {"metadata": {"name": name}, "spec": {"podUID": "1"}}
        reply = client.ask("POST", URL, body)
        assert reply.code == 201, reply.body
    return int(reply.json["metadata"]["resourceVersion"])


def assert_gone(client, revision, token=None):
    """A watch at `revision` ends with 410 at once, and so do an exact list and a token."""
    told = watches.Watch(client, URL, f"resourceVersion={revision}")
    assert told.over.wait(UNTIL_S)
    assert [event["object"].get("code") for event in told.events] == [410]
    told.close()
    exact = f"{URL}?resourceVersionMatch=Exact&resourceVersion={revision}"
    assert client.ask("GET", exact).code == 410
    if token is not None:
        assert client.ask("GET", f"{URL}?continue={token}").code == 410
    # The list that an informer makes then is newer than all that it has seen.
    listed = client.ask("GET", f"{URL}?resourceVersion={revision}")
    assert listed.code == 200
    assert int(listed.json["metadata"]["resourceVersion"]) > revision


def test_a_watch_that_goes_on_over_a_lost_database_gets_410(place, tmp_path):
    with place.serving() as client:
        first = create(client, "web-0", "web-1", "web-2")
        token = client.ask("GET", f"{URL}?limit=1").json["metadata"]["continue"]
    for file in tmp_path.glob("objects.db*"):
        file.unlink()
    with place.serving() as client:
        assert_gone(client, first, token)
        assert create(client, *(f"other-{number}" for number in range(20))) > first
        assert_gone(client, first, token)


def test_what_came_after_a_backup_is_410_when_it_is_restored(place, tmp_path):
    with place.serving() as client:
        kept = create(client, "web-0")
    shutil.copy(tmp_path / "objects.db", tmp_path / "backup")
    with place.serving() as client:
        lost = create(client, "web-1", "web-2")
    for file in tmp_path.glob("objects.db*"):
        file.unlink()
    shutil.copy(tmp_path / "backup", tmp_path / "objects.db")
    with place.serving() as client:
        to_come = client.ask("GET", f"{URL}?watch=true&resourceVersion={lost}")
        assert to_come.code == 504
        create(client, "other")
        assert_gone(client, lost)
        assert client.ask("GET", f"{URL}?resourceVersion={kept}").code == 200


def test_a_restart_alone_expires_no_token(place):
    with place.serving() as client:
        create(client, "web-0", "web-1")
        token = client.ask("GET", f"{URL}?limit=1").json["metadata"]["continue"]
    with place.serving() as client:
        create(client, "web-2")
        rest = client.ask("GET", f"{URL}?continue={token}")
        assert [item["metadata"]["name"] for item in rest.json["items"]] == ["web-1"]


def test_an_etcd_that_is_set_up_anew_below_a_running_server(program, tmp_path, kube):
    (tmp_path / "etcd").mkdir()
    cluster = etcd.Cluster(tmp_path / "etcd", users=False)
    try:
        place = Place(program, tmp_path, kube, cluster.url(), cluster.access())
        with place.serving() as client:
            first = create(client, "web-0", "web-1")
            open_watch = watches.Watch(client, URL, f"resourceVersion={first}")
            cluster.kill(0)
            shutil.rmtree(tmp_path / "etcd" / "m0")
            cluster.start(0)
            cluster.wait_ready(0)
            until_ready(client)
            assert open_watch.over.wait(UNTIL_S)
            assert open_watch.events[-1]["object"]["code"] == 410
            open_watch.close()
            assert_gone(client, first)
            assert client.ask("GET", URL).json["items"] == []
            assert create(client, *(f"other-{number}" for number in range(20))) > first
            assert_gone(client, first)
    finally:
        cluster.stop()
