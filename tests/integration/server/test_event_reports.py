"""Events that a server writes for agents, and those that it refuses to write."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from support import dumps, waiting
from support.server import servers, uploads

from coredumpd.agent import events
from coredumpd.formats import event_reasons, event_report, upload
from coredumpd.kube import client

PER_MINUTE = 40


@pytest.fixture(scope="module")
def world(program: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[uploads.World]:
    made = uploads.World(tmp_path_factory.mktemp("reports") / "world", program)
    made.more = {"eventsPerMinute": PER_MINUTE}
    with made.kube:
        server = made.start()
        yield made
        server.stop()


@pytest.fixture(autouse=True)
def pods(world: uploads.World) -> None:
    """web-0 of team-a is on node1; no Event is written yet."""
    world.kube.pod("team-a", "web-0", dumps.POD_UID)
    world.kube.asked.clear()
    world.kube.headers.clear()


def report(uid: str = dumps.POD_UID, namespace: str = "team-a", **changed: Any) -> bytes:
    regarding = {"namespace": namespace, "name": "web-0", "uid": uid}
    fields = {"reason": event_reasons.SKIPPED, "message": "it had its share", "same": "share"}
    return event_report.Report.of(regarding, **fields | changed).encode()


def post(world: uploads.World, token: str, body: bytes) -> servers.Reply:
    return world.client(token).ask("POST", event_report.PATH, body)


def refusals(world: uploads.World, reason: str) -> float:
    line = f'coredumpd_server_refused_uploads_total{{reason="{reason}"}} '
    text = world.client("admin").ask("GET", "/metrics").body.decode()
    return sum(float(one.removeprefix(line)) for one in text.splitlines() if one.startswith(line))


def test_the_event_is_on_the_pod_and_from_the_tokens_node(world):
    assert post(world, "agent-node1", report()).code == 202
    (event,) = world.kube.created("events")
    assert event["metadata"]["namespace"] == "team-a"
    assert event["involvedObject"]["uid"] == dumps.POD_UID
    assert (event["reason"], event["message"]) == ("CoreDumpSkipped", "it had its share")
    assert event["source"] == {"component": "coredumpd", "host": "node1"}


def test_a_node_has_no_event_on_a_pod_that_is_not_its_own(world):
    before = refusals(world, "event-pod")
    world.kube.pod("team-b", "web-0", "victim-uid", "node1")
    for body in (
        report(),  # of node1
        report("victim-uid", "team-b"),
        report("victim-uid", "team-a"),  # another pod has that name
        report("never-seen"),
        report(namespace="kube-system"),
    ):
        reply = post(world, "agent-node2", body)
        assert reply.code == 403, reply.body
    assert world.kube.created("events") == []
    assert refusals(world, "event-pod") == before + 5


@pytest.mark.parametrize("token", ["admin", "other", "unbound", "nobody"])
def test_nobody_but_an_agent_that_proves_its_node_may_ask(world, token):
    assert post(world, token, report()).code in (401, 403)
    assert world.kube.created("events") == []


@pytest.mark.parametrize("body", [b"", b"{}", b"x" * 9000, report().replace(b"CoreD", b"KillD")])
def test_what_is_no_report_is_refused(world, body):
    assert post(world, "agent-node1", body).code in (413, 422)
    assert world.kube.created("events") == []


def test_one_pods_events_do_not_use_up_its_neighbours(world):
    before = refusals(world, "event-rate")
    world.kube.pod("team-a", "noisy", "noisy-uid", "node2")
    noisy = report("noisy-uid").replace(b"web-0", b"noisy")
    replies = [post(world, "agent-node2", noisy) for _ in range(PER_MINUTE // 4 + 3)]
    assert [reply.code for reply in replies[: PER_MINUTE // 4]] == [202] * (PER_MINUTE // 4)
    assert replies[-1].code == 429
    assert int(replies[-1].headers["Retry-After"]) > 0
    world.kube.pod("team-a", "quiet", "quiet-uid", "node2")
    quiet = report("quiet-uid").replace(b"web-0", b"quiet")
    assert post(world, "agent-node2", quiet).code == 202
    assert refusals(world, "event-rate") > before


def test_a_dump_that_is_committed_has_its_event_from_the_server(world):
    key, record, core = dumps.make(namespaceUID=None)
    body = upload.head(record) + core.getvalue()
    assert world.client("agent-node1").ask("PUT", upload.path(key), body).code == 201
    waiting.until("the Event", lambda: world.kube.created("events"), 30)
    (event,) = world.kube.created("events")
    assert event["reason"] == "CoreDumped"
    assert event["message"].endswith(f"is kept as {key.id}")
    assert event["involvedObject"]["fieldPath"] == "spec.containers{app}"
    assert event["source"]["host"] == "node1"


def test_a_dump_that_only_its_node_vouches_for_has_none(world):
    key, record, core = dumps.make(pid=9, pod_uid="never-seen", podName="never-seen")
    body = upload.head(record) + core.getvalue()
    assert world.client("agent-node1").ask("PUT", upload.path(key), body).code == 201
    assert post(world, "agent-node1", report()).code == 202  # it was written after, if at all
    assert len(world.kube.created("events")) == 1


def test_an_agents_events_on_pods_go_to_the_server_and_those_on_its_node_do_not(world, tmp_path):
    async def write() -> None:
        async with await client.connect(str(world.kube.kubeconfig("agents-own"))) as kube:
            writer = events.Events(kube, "node1", world.target())
            await writer.pod("team-a", "web-0", dumps.POD_UID, event_reasons.POLICY, "maxSize: no")
            await writer.node(event_reasons.STUCK, "dumps wait")

    asyncio.run(write())
    senders = [
        (path.split("/")[4], headers["Authorization"] == "Bearer agents-own")
        for (method, path, _), headers in zip(world.kube.asked, world.kube.headers, strict=False)
        if method == "POST" and path.endswith("/events")
    ]
    assert senders == [("team-a", False), ("default", True)]
