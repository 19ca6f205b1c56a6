"""Floods of objects, lists and watches: within the manifest's memory, and others are answered."""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import json
import threading
import time
import uuid

import pytest
from support import waiting
from support.kube import controlplane
from support.node import memory
from support.server import servers, watches
from support.storage import etcd

from coredumpd.objects import engines
from coredumpd.server.endpoints import codec

MEMORY = 512 * 2**20  # deploy.sh's limit for the server
OBJECTS, OBJECT_BYTES = 900, 250_000
ANSWERED_S = 10.0  # two seconds, on a machine that does much else
FLOODED = servers.BASE + "/namespaces/team-a/coredumpendpoints"
OTHER = servers.BASE + "/namespaces/team-b/coredumpendpoints"
MERGE = {"Content-Type": "application/merge-patch+json"}
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"
PARTIAL = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"


@dataclasses.dataclass
class World:
    server: servers.Server
    group: memory.Limited
    directory: object
    ca_file: object
    front: object

    def client(self, user):
        return servers.Client(self.server.port, self.ca_file, self.front, {"X-Remote-User": user})


@contextlib.contextmanager
def serving(program, directory, objects, limits, access=None):
    """A server in a cgroup of the manifest's memory."""
    etcd_ca = None if access is None else access.caFile
    arguments, ca_file = servers.configured(directory, objects, etcd_ca, objectLimits=limits)
    with controlplane.ControlPlane(directory) as kube, memory.limited(MEMORY) as group:
        arguments += ["--kubeconfig", str(kube.kubeconfig())]
        front = kube.proxy_ca.issue("front-proxy-client")
        log = directory / "server.log"
        with servers.running(program, arguments, log, group.prefix) as server:
            world = World(server, group, directory, ca_file, front)
            client = world.client("watcher")
            waiting.until("the server", lambda: client.ask("GET", "/readyz").code == 200, 60, 0.1)
            made = client.ask("POST", OTHER, endpoint("web-0"))
            assert made.code == 201, made.body
            yield world
            assert group.kills == 0


def endpoint(name, **annotations):
    return {"metadata": {"name": name, "annotations": annotations}, "spec": {"podUID": "1"}}


def fill(engine, count):
    """What earlier requests have written."""
    for number in range(count):
        name = f"web-{number:04}"
        document = {
            "apiVersion": "coredump.fujitsu.com/v1alpha1",
            "kind": "CoredumpEndpoint",
            "metadata": {
                "name": name,
                "namespace": "team-a",
                "uid": str(uuid.uuid4()),
                "creationTimestamp": "2026-01-01T00:00:00Z",
                "annotations": {"a": "x" * OBJECT_BYTES},
            },
            "spec": {"podUID": "1"},
        }
        engine.create(codec.key("team-a", name), codec.encode(document))


# Each of these fills a server with 225 MB: the program's kind and the engine change together.
each_kind_and_engine = pytest.mark.parametrize(
    ("program", "engine"),
    [("source", "etcd"), ("frozen", "sqlite")],
    indirect=["program"],
    scope="function",
)


@pytest.fixture
def flooded(engine, program, tmp_path):
    """900 objects of 250 KB in team-a, more than the default limits let anybody have."""
    limits = {
        "namespaceObjects": 2000,
        "namespaceSize": "400Mi",
        "totalSize": "1Gi",
        "historySize": "1Gi",
    }
    with contextlib.ExitStack() as stack:
        url, access = f"sqlite:///{tmp_path}/objects.db", None
        if engine == "etcd":
            (tmp_path / "etcd").mkdir()
            cluster = etcd.Cluster(tmp_path / "etcd", users=False)
            stack.callback(cluster.stop)
            url, access = cluster.url(), cluster.access()
        objects = engines.open_engine(url, access)
        fill(objects, OBJECTS)
        objects.close()
        yield stack.enter_context(serving(program, tmp_path, url, limits, access))


@contextlib.contextmanager
def others_are_answered(world):
    """Another user asks for another namespace all the while, and a probe for the server."""
    client, over, slowest, wrong = world.client("neighbour"), threading.Event(), [0.0], []

    def ask():
        while not over.is_set():
            for path in (OTHER, f"{OTHER}/web-0", "/livez"):
                began = time.monotonic()
                try:
                    reply = client.ask("GET", path)
                except OSError as error:
                    wrong.append(error)
                    return
                slowest[0] = max(slowest[0], time.monotonic() - began)
                if reply.code != 200:
                    wrong.append((path, reply.code, reply.body))
            over.wait(0.05)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(60)
    assert wrong == []
    assert slowest[0] < ANSWERED_S
    assert world.server.process.poll() is None
    assert world.group.kills == 0


def read(world, user, accept, enough):
    """Reads `enough` bytes of a list without a limit, or all; returns (status, bytes)."""
    client, size = world.client(user), 0
    with contextlib.closing(client.connect()) as connection:
        connection.request("GET", FLOODED + "?includeObject=Object", headers={
            **client.headers, "Accept": accept,
        })  # fmt: skip
        response = connection.getresponse()
        while size < enough and (chunk := response.read(65536)):
            size += len(chunk)
        return response.status, size


@each_kind_and_engine
@pytest.mark.timeout(300)
def test_twenty_lists_without_a_limit_at_once(flooded):
    accepts = ["application/json", TABLE, PARTIAL, "*/*"] * 5
    with others_are_answered(flooded), concurrent.futures.ThreadPoolExecutor(20) as pool:
        ways = [
            pool.submit(read, flooded, f"user-{number % 3}", accept, 20_000_000)
            for number, accept in enumerate(accepts)
        ]
        for way in ways:
            assert way.result() == (200, way.result()[1])
            assert way.result()[1] >= 20_000_000
    whole = flooded.client("reader").ask("GET", FLOODED)
    assert whole.code == 200
    names = [item["metadata"]["name"] for item in whole.json["items"]]
    assert names == [f"web-{number:04}" for number in range(OBJECTS)]
    assert flooded.group.peak < MEMORY


@each_kind_and_engine
@pytest.mark.timeout(300)
def test_lists_and_watches_that_nobody_reads(flooded):
    client = flooded.client("idle")
    with contextlib.ExitStack() as held, others_are_answered(flooded):
        watch = "?watch=true&allowWatchBookmarks=true"
        for path in [""] * 40 + [watch] * 100 + [f"/web-{number:04}" for number in range(80)]:
            connection = client.connect()
            held.callback(connection.close)
            connection.request("GET", FLOODED + path, headers=client.headers)
        writer = flooded.client("writer")
        for number in range(60):  # each of them to a hundred watchers
            patch = {"metadata": {"annotations": {"a": "y" * OBJECT_BYTES, "n": str(number)}}}
            reply = writer.ask("PATCH", f"{FLOODED}/web-{number:04}", patch, MERGE)
            assert reply.code == 200, reply.body
        assert read(flooded, "reader", "*/*", 5_000_000)[0] == 200
    assert flooded.group.peak < MEMORY


@each_kind_and_engine
@pytest.mark.timeout(300)
def test_a_watch_that_reads_too_slowly_is_told_410_or_cut(flooded):
    client, writer = flooded.client("slow"), flooded.client("writer")
    now = client.ask("GET", FLOODED + "?limit=1").json["metadata"]["resourceVersion"]
    with contextlib.closing(client.connect()) as connection:
        query = f"?watch=true&resourceVersion={now}"
        connection.request("GET", FLOODED + query, headers=client.headers)
        response = connection.getresponse()
        for number in range(200):
            patch = {"metadata": {"annotations": {"a": "z" * OBJECT_BYTES, "n": str(number)}}}
            reply = writer.ask("PATCH", f"{FLOODED}/web-{number:04}", patch, MERGE)
            assert reply.code == 200, reply.body
        events = [json.loads(line) for line in response if line.endswith(b"}\n")]
    assert len(events) < 200
    assert events[-1]["type"] == "ERROR"
    assert events[-1]["object"]["code"] == 410
    assert flooded.group.peak < MEMORY


@each_kind_and_engine
@pytest.mark.timeout(300)
def test_a_deletecollection_of_everything(flooded):
    client = flooded.client("deleter")
    with others_are_answered(flooded):
        reply = client.ask("DELETE", FLOODED)
        assert reply.code == 200
        assert len(reply.json["items"]) == OBJECTS
    assert client.ask("GET", FLOODED).json["items"] == []
    assert flooded.group.peak < MEMORY


@pytest.fixture
def bounded(program, tmp_path):
    """A server with small limits."""
    limits = {
        "objectSize": "300Ki",
        "namespaceObjects": 20,
        "namespaceSize": "2Mi",
        "totalObjects": 50,
        "totalSize": "5Mi",
        "historySize": "16Mi",
    }
    url = f"sqlite:///{tmp_path}/objects.db"
    with serving(program, tmp_path, url, limits) as world:
        yield world


def create_many(world, namespace, count, size=0):
    """The codes of as many creates at once."""
    client = world.client("creator")
    url = f"{servers.BASE}/namespaces/{namespace}/coredumpendpoints"

    def create(number):
        return client.ask("POST", url, endpoint(f"pod-{number}", a="x" * size))

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        return list(pool.map(create, range(count)))


def refusals(world, limit):
    text = world.client("prometheus").ask("GET", "/metrics").body.decode()
    name = f'coredumpd_server_refused_objects_total{{limit="{limit}"}} '
    return sum(float(line.split()[1]) for line in text.splitlines() if line.startswith(name))


def test_objects_of_a_namespace_are_bounded_in_number_and_the_refusals_counted(bounded):
    replies = create_many(bounded, "team-a", 40)
    codes = [reply.code for reply in replies]
    assert (codes.count(201), codes.count(403)) == (20, 20)
    status = next(reply.json for reply in replies if reply.code == 403)
    assert status["reason"] == "Forbidden"
    assert "exceeded quota: objectLimits" in status["message"]
    assert "used: count/coredumpendpoints.coredump.fujitsu.com=20" in status["message"]
    assert refusals(bounded, "count") == 20
    client = bounded.client("creator")
    assert client.ask("POST", OTHER, endpoint("web-1")).code == 201
    assert client.ask("DELETE", f"{FLOODED}/{replies[codes.index(201)].json['metadata']['name']}")
    assert client.ask("POST", FLOODED, endpoint("again")).code == 201
    assert client.ask("POST", FLOODED, endpoint("once-more")).code == 403


def test_objects_of_a_namespace_are_bounded_in_bytes_whether_created_or_patched(bounded):
    codes = [reply.code for reply in create_many(bounded, "team-a", 15, size=200_000)]
    assert codes.count(201) == 2 * 2**20 // 200_500
    assert codes.count(403) == 15 - codes.count(201)
    client = bounded.client("creator")
    assert client.ask("POST", FLOODED, endpoint("small")).code == 201
    grown = {"metadata": {"annotations": {"a": "x" * 200_000}}}
    refused = client.ask("PATCH", f"{FLOODED}/small", grown, MERGE)
    assert (refused.code, refused.json["reason"]) == (403, "Forbidden")
    assert "requested: size/" in refused.json["message"]
    large = client.ask("GET", FLOODED).json["items"][0]["metadata"]["name"]
    shrunk = {"metadata": {"annotations": {"a": None}}}
    assert client.ask("PATCH", f"{FLOODED}/{large}", shrunk, MERGE).code == 200
    waiting.until(
        "room", lambda: client.ask("PATCH", f"{FLOODED}/small", grown, MERGE).code == 200, 20
    )


def test_an_object_is_bounded_and_its_parts_are(bounded):
    client = bounded.client("creator")
    large = {f"k{number}": "x" * 60_000 for number in range(4)}
    finalizers = [f"example.com/{'x' * 50}-{number}" for number in range(100)]
    for metadata, code, word in (
        ({"annotations": {"a": "x" * 262_145}}, 422, "metadata.annotations: Too long"),
        ({"labels": {f"k{number}": "x" * 63 for number in range(600)}}, 422, "metadata.labels"),
        ({"finalizers": [*finalizers, "example.com/one"]}, 422, "metadata.finalizers: Too many"),
        ({"generateName": "x" * 1000}, 422, "metadata.generateName"),
        ({"ownerReferences": [{"uid": "x" * 1000}]}, 422, "metadata.ownerReferences[0].uid"),
        ({"annotations": {**large, "b": "\x01" * 12_000}}, 413, "objectLimits.objectSize"),
    ):
        body = {"metadata": {"name": "web-0", **metadata}, "spec": {"podUID": "1"}}
        reply = client.ask("POST", FLOODED, body)
        assert reply.code == code, reply.body[:500]
        assert word in reply.json["message"]
    assert refusals(bounded, "object") == 1
    fits = {"metadata": {"name": "web-0", "annotations": large}, "spec": {"podUID": "1"}}
    assert client.ask("POST", FLOODED, {**fits}).code == 201
    managed = {"metadata": {"managedFields": [{"manager": "x" * 1000}] * 300}}
    assert client.ask("PATCH", f"{FLOODED}/web-0", managed, MERGE).code == 200
    assert "managedFields" not in client.ask("GET", f"{FLOODED}/web-0").json["metadata"]


def test_one_namespaces_writes_do_not_push_out_the_history_of_others(bounded):
    client = bounded.client("writer")
    assert client.ask("POST", FLOODED, endpoint("web-0", a="x" * OBJECT_BYTES)).code == 201
    page = client.ask("GET", f"{OTHER}?limit=1").json["metadata"]
    early = page["resourceVersion"]
    replies = []
    for number in range(100):  # 25 MB
        patch = {"metadata": {"annotations": {"n": str(number)}}}
        replies.append(client.ask("PATCH", f"{FLOODED}/web-0", patch, MERGE))
    codes = [reply.code for reply in replies]
    share = 8 * 2**20 // (OBJECT_BYTES + 400) - 1
    assert codes == [200] * share + [429] * (100 - share)
    assert replies[-1].headers["Retry-After"] == "10"
    assert "objectLimits.historySize" in replies[-1].json["message"]
    assert refusals(bounded, "history") == codes.count(429)
    size = sum(file.stat().st_size for file in bounded.directory.glob("objects.db*"))
    assert size < 40 * 2**20
    other = bounded.client("other")
    assert other.ask("POST", OTHER, endpoint("web-9", a="x" * OBJECT_BYTES)).code == 201
    exact = f"{OTHER}?resourceVersionMatch=Exact&resourceVersion={early}"
    assert [item["metadata"]["name"] for item in other.ask("GET", exact).json["items"]] == ["web-0"]
    told = watches.Watch(other, OTHER, f"resourceVersion={early}")
    assert told.wait(1) == [("ADDED", "web-9")]
    told.close()
    assert client.ask("DELETE", f"{FLOODED}/web-0").code == 200  # always possible
