"""Uploads by nodes that lie, are slow or want everything; TokenReviews over TLS."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator

import pytest
from support import dumps, sparse, waiting
from support.server import servers, uploads

from coredumpd.formats import layout, upload
from coredumpd.formats import record as records
from coredumpd.store import reader

WINDOW_S = 2
PLACES = 8
RATE = 64 * 1024


@pytest.fixture(scope="module")
def world(program: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[uploads.World]:
    made = uploads.World(tmp_path_factory.mktemp("uploads") / "world", program)
    made.more = {"uploadRateWindow": f"{WINDOW_S}s", "uploadMinRate": "64Ki", "tokenCacheTTL": "1s"}
    with made.kube:
        made.start()
        yield made
        assert made.server is not None
        made.server.stop()


@pytest.fixture(autouse=True)
def pods(world: uploads.World) -> Iterator[None]:
    """web-0 of team-a is on node1; nothing is stored."""
    world.kube.pod("team-a", "web-0", dumps.POD_UID)
    yield
    for key in list(world.store.list()):
        world.store.delete(key)


def body(record: records.CrashRecord, core: io.BytesIO) -> bytes:
    return upload.head(record) + core.getvalue()


def put(
    world: uploads.World, token: str, made: tuple[layout.DumpKey, records.CrashRecord, io.BytesIO]
) -> servers.Reply:
    key, record, core = made
    return world.client(token).ask("PUT", upload.path(key), body(record, core))


def refusals(world: uploads.World, reason: str) -> float:
    return metric(world, f'coredumpd_server_refused_uploads_total{{reason="{reason}"}} ')


def metric(world: uploads.World, line: str) -> float:
    text = world.client("admin").ask("GET", "/metrics").body.decode()
    return sum(float(one.removeprefix(line)) for one in text.splitlines() if one.startswith(line))


def test_a_dump_of_a_living_pod_is_proven_by_the_server(world):
    made = dumps.make(namespaceUID=None)
    assert put(world, "agent-node1", made).code == 201
    record = world.store.read_record(made[0])
    assert record.namespace_uid == "team-a-uid"
    assert record.attribution == "api"


def test_a_node_cannot_send_for_another_node(world):
    before = refusals(world, "origin")
    reply = put(world, "agent-node2", dumps.make())
    assert reply.code == 403
    assert "'node1'" in reply.json["message"]
    assert list(world.store.files()) == []
    assert refusals(world, "origin") == before + 1


@pytest.mark.parametrize("namespace", ["team-a", "team-b"])
def test_a_node_cannot_send_for_a_pod_that_is_on_another_node(world, namespace):
    world.kube.pod(namespace, "web-0", "victim-uid", "node1")
    reply = put(
        world,
        "agent-node2",
        dumps.make(namespace=namespace, pod_uid="victim-uid", node="node2"),
    )
    assert reply.code == 403
    assert "is on 'node1'" in reply.json["message"]
    assert list(world.store.files()) == []


def test_a_record_without_a_node_is_the_senders(world):
    made = dumps.make(node=None)
    assert put(world, "agent-node1", made).code == 201
    assert world.store.read_record(made[0]).node == "node1"


def test_a_host_crash_is_of_the_node_that_sends_it(world):
    made = dumps.make(namespace="_host", node="node1")
    assert put(world, "agent-node2", made).code == 403
    assert put(world, "agent-node1", made).code == 201


def test_a_gone_pod_is_on_the_node_of_its_earlier_dumps(world):
    world.kube.pod("team-a", "gone-0", "gone-uid", "node1")
    first = dumps.make(pid=1, pod_uid="gone-uid", podName="gone-0")
    assert put(world, "agent-node1", first).code == 201
    del world.kube.objects["/api/v1/namespaces/team-a/pods/gone-0"]
    second = dumps.make(pid=2, pod_uid="gone-uid", podName="gone-0")
    assert put(world, "agent-node1", second).code == 201
    assert world.store.read_record(second[0]).attribution == "api"
    forged = dumps.make(pid=3, pod_uid="gone-uid", podName="gone-0", node="node2")
    assert put(world, "agent-node2", forged).code == 403


def test_a_gone_pod_that_nobody_saw_is_kept_as_its_nodes_word(world):
    made = dumps.make(pod_uid="never-seen", podName="never-seen", keep=True)
    made[1].raw["capture"]["attribution"] = "api"
    assert put(world, "agent-node1", made).code == 201
    record = world.store.read_record(made[0])
    assert record.attribution == records.UNPROVEN
    assert not record.is_pinned


def test_the_pods_own_annotation_pins_and_no_record_does(world):
    unpinned = dumps.make(pid=1, keep=True)
    assert put(world, "agent-node1", unpinned).code == 201
    assert not world.store.read_record(unpinned[0]).is_pinned
    world.kube.pod("team-a", "web-0", dumps.POD_UID, keep="true")
    pinned = dumps.make(pid=2)
    assert put(world, "agent-node1", pinned).code == 201
    assert world.store.read_record(pinned[0]).is_pinned


def test_a_dump_of_a_former_namespace_is_refused(world):
    reply = put(world, "agent-node1", dumps.make(namespaceUID="former"))
    assert reply.code == 422
    assert "is gone" in reply.json["message"]
    assert put(world, "agent-node1", dumps.make(namespace="never")).code == 422
    assert list(world.store.files()) == []


def test_a_static_pod_goes_by_the_uid_of_its_own_node_only(world):
    world.kube.pod("team-a", "static-node1", "mirror-uid", "node1")
    pod = world.kube.objects["/api/v1/namespaces/team-a/pods/static-node1"]["metadata"]
    pod["annotations"] = {
        "kubernetes.io/config.mirror": "file-hash",
        "kubernetes.io/config.hash": "file-hash",
        "kubernetes.io/config.source": "file",
    }
    made = dumps.make(pod_uid="file-hash", podName="static-node1")
    assert put(world, "agent-node1", made).code == 201
    assert world.store.read_record(made[0]).attribution == records.UNPROVEN  # any tenant's claim
    pod["ownerReferences"] = [{"kind": "Node", "name": "node1", "apiVersion": "v1", "uid": "n"}]
    made = dumps.make(pid=2, pod_uid="file-hash", podName="static-node1")
    assert put(world, "agent-node1", made).code == 201
    assert world.store.read_record(made[0]).attribution == "api"


def test_before_1_30_the_tokens_pod_tells_the_node(world):
    user = uploads.agent_of("node2")
    del user["extra"]["authentication.kubernetes.io/node-name"]
    world.kube.tokens["older"] = user
    assert put(world, "older", dumps.make()).code == 403
    world.kube.pod("coredumpd", "coredumpd-agent-node2", "another-uid", "node1")
    assert put(world, "older", dumps.make()).code == 403
    world.kube.pod("coredumpd", "coredumpd-agent-node2", "agent-node2-uid", "node2")
    assert put(world, "older", dumps.make()).code == 403  # of node1
    world.kube.pod("team-b", "web-0", "two", "node2")
    made = dumps.make(namespace="team-b", pod_uid="two", node="node2")
    assert put(world, "older", made).code == 201


def test_a_token_that_proves_no_node_is_refused(world):
    before = refusals(world, "token")
    reply = put(world, "unbound", dumps.make())
    assert reply.code == 403
    assert "bound to no pod" in reply.json["message"]
    assert refusals(world, "token") == before + 1


def test_a_node_learns_nothing_of_the_dumps_of_others(world):
    made = dumps.make()
    assert put(world, "agent-node1", made).code == 201
    assert world.client("agent-node1").ask("GET", upload.path(made[0])).code == 200
    assert world.client("agent-node2").ask("GET", upload.path(made[0])).code == 403


def test_a_count_names_no_dump_of_the_store(world):
    loop = {"count": 3, "firstTime": "a", "lastTime": "b", "folded": ["victim-1", "victim-2"]}
    made = dumps.make(crashLoop=loop)
    assert put(world, "agent-node1", made).code == 201
    assert world.store.read_record(made[0]).raw["crashLoop"] == loop | {"folded": []}


def test_one_nodes_trickling_uploads_block_nobody(world):
    world.kube.pod("team-b", "web-0", "other", "node1")
    slow = [uploads.Trickle(world, "agent-node2", pid, "node2") for pid in range(PLACES)]
    try:
        began = time.monotonic()
        for pid in range(5):  # at any moment of the flood
            assert put(world, "agent-node1", dumps.make(pid=pid)).code == 201
        assert time.monotonic() - began < 20
        for one in slow:
            one.wait()
    finally:
        for one in slow:
            one.close()
    assert refusals(world, "places") >= PLACES - PLACES // 4
    assert refusals(world, "slow") >= 1
    keys = [key for key in world.store.list() if key.pod_uid.startswith("slow")]
    assert keys == []


def test_a_slow_upload_is_ended_and_told_when_to_come_back(world):
    before = refusals(world, "slow")
    one = uploads.Trickle(world, "agent-node2", 1, "node2")
    try:
        waiting.until("the end", lambda: refusals(world, "slow") > before, 30)
        reply = one.wait()
    finally:
        one.close()
    if reply is not None:  # the answer may be lost, since the client still sends
        assert reply.status == 429
        assert int(reply.headers["Retry-After"]) > 0


@pytest.fixture(scope="module")
def lenient(program: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[uploads.World]:
    """A server that gives slow uploads time, and accepts tokens that are bound to no node."""
    made = uploads.World(tmp_path_factory.mktemp("lenient") / "world", program)
    made.more = {"uploadUnboundTokens": True, "uploadRateWindow": "5m"}
    made.kube.pod("team-a", "web-0", dumps.POD_UID)
    with made.kube:
        server = made.start()
        yield made
        server.stop()


def test_more_than_a_nodes_share_is_429_and_says_when(lenient):
    slow = [uploads.Trickle(lenient, "agent-node2", pid, "node2") for pid in range(2)]
    try:
        waiting.until("both", lambda: len(list(lenient.path.rglob("*.part"))) == 2, 60)
        reply = put(lenient, "agent-node2", dumps.make())
        assert (reply.code, reply.json["reason"]) == (429, "TooManyRequests")
        assert int(reply.headers["Retry-After"]) > 0
    finally:
        for one in slow:
            one.close()


def test_the_settings_may_accept_tokens_without_a_node(lenient):
    made = dumps.make()
    assert put(lenient, "unbound", made).code == 201
    lenient.store.delete(made[0])
    assert put(lenient, "unbound", dumps.make(node="node2")).code == 403  # the pod is elsewhere


def test_the_index_of_a_core_with_holes_is_uploaded_with_it(world: uploads.World) -> None:
    made = sparse.make({0: b"head" * 1024, 2**30: b"x" * 4096}, 2**40)
    key, _, core, index = made
    world.target().commit(*made)
    there = reader.index(world.store, key, world.store.read_record(key))
    assert there is not None
    assert there.data == index.data
    assert world.store.open_core(key).size == len(core.getvalue())


def test_an_index_of_another_core_is_refused(world: uploads.World) -> None:
    key, record, core, _ = sparse.make({0: b"head" * 1024}, 2**40)
    other = sparse.make({0: b"head" * 1024}, 2**41)[3]
    sent = upload.head(record) + other.data + core.getvalue()
    answer = world.client("agent-node1").ask("PUT", upload.path(key), sent)
    assert answer.code == 422
    assert b"core.index is of another core" in answer.body
    assert list(world.store.list()) == []
