"""The guard and the shipper as two processes, each with the rights of its container."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import crashers, waiting
from support.node import agents, corepattern, pods

PATTERN = corepattern.SYSCTLS[0]
POD = "/api/v1/namespaces/coredumpd/pods/agent-1"
SET = "/apis/apps/v1/namespaces/coredumpd/daemonsets/agent"

pytestmark = pytest.mark.skipif(not corepattern.writable(), reason="core_pattern is not writable")


@pytest.fixture
def borrowed() -> Iterator[str]:
    with corepattern.borrowed():
        PATTERN.write_text("core.before\n")
        yield PATTERN.read_text()


@pytest.fixture
def guard(node: agents.Agent, borrowed: str) -> Iterator[agents.Agent]:
    """The guard of `node`, a process of its own."""
    half = agents.Agent(node.directory / "guard", node.host_dir, node.kind)
    half.ready = "the guard of node node1 is ready"
    node.policy = {"runtimeStateDirs": [str(node.directory / "runtime")]}
    half.policy = node.policy
    half.start(command="guard")
    try:
        yield half
    finally:
        if half.process is not None:
            half.kill()


def ship(node: agents.Agent, *words: str) -> None:
    os.chown(node.store, 0, 65532)
    node.store.chmod(0o770)
    node.start(*words, command="ship", before=agents.POWERLESS)


def python(half: agents.Agent) -> int:
    """The process that runs our code: a onefile executable's child."""
    assert half.process is not None
    pid = half.process.pid
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return int(children[0]) if children and half.kind == "frozen" else pid


def test_a_crash_is_captured_with_no_network_and_shipped_with_no_capability(node, guard, tmp_path):
    ship(node, "--no-kubernetes")
    status = Path(f"/proc/{python(node)}/status").read_text()
    assert "CapEff:\t0000000000000000" in status
    assert "CapBnd:\t0000000000000000" in status
    assert "NoNewPrivs:\t1" in status
    assert "Seccomp:\t2" in status
    assert "shipping without" not in node.logged()
    with pods.running(tmp_path / "runtime") as pod:
        pod.start([crashers.compiled("crasher", tmp_path)]).wait(timeout=60)
        (key,) = node.wait_stored(1)
    assert key.startswith(f"shop/{pod.uid}/app/crasher-")
    interfaces = Path(f"/proc/{python(guard)}/net/dev").read_text().splitlines()[2:]
    assert [line.split(":")[0].strip() for line in interfaces] == ["lo"]
    assert Path(f"/proc/{python(guard)}/net/route").read_text().splitlines()[1:] == []
    assert node.get("/healthz") == (200, "ok\n")


def test_drift_is_told_by_the_shipper_which_may_not_see_it(node, guard, kube):
    ship(node, "--kubeconfig", str(kube.kubeconfig()))
    PATTERN.write_text("|/bin/evil %p\n")
    waiting.until("the Event", lambda: kube.created("events"), 20, 0.05)
    (event,) = kube.created("events")
    assert event["reason"] == "CorePatternDrift"
    assert "|/bin/evil %p" in event["message"]
    assert "coredumpd_agent_core_pattern_corrections_total 1.0" in node.get("/metrics")[1]
    assert kube.asked
    assert "|/bin/evil" not in node.logged()  # the shipper only passed it on


def test_the_tenants_rules_reach_the_handlers_policy_through_the_guard(node, guard, kube):
    annotations = {"coredump.fujitsu.com/capture": "disabled"}
    meta = {"name": "team-a", "uid": "ns-team-a", "annotations": annotations}
    kube.objects["/api/v1/namespaces/team-a"] = {"metadata": meta}
    kube.objects["/api/v1/pods/web"] = {
        "metadata": {"name": "web", "namespace": "team-a", "uid": "uid-web"},
        "status": {},
    }
    ship(node, "--kubeconfig", str(kube.kubeconfig()))
    path = node.host_dir / "policy.json"

    def capture() -> object:
        return json.loads(path.read_bytes())["namespaces"].get("team-a", {}).get("capture")

    waiting.until("the guard to adopt them", lambda: capture() == "disabled", 20)


def test_a_shipper_without_a_guard_is_not_well(node, borrowed, monkeypatch):
    node.start("--no-kubernetes", command="ship")
    waiting.until("healthz to fail", lambda: node.get("/healthz")[0] == 503, 60, 0.5)
    assert "the guard is silent" in node.get("/healthz")[1]
    assert PATTERN.read_text() == borrowed


@pytest.mark.parametrize("first", ["guard", "shipper"])
@pytest.mark.parametrize("deleted", [True, False])
def test_the_end_of_the_daemonset_is_told_to_the_guard_whoever_ends_first(
    node, guard, kube, borrowed, monkeypatch, deleted, first
):
    monkeypatch.setenv("POD_NAMESPACE", "coredumpd")
    monkeypatch.setenv("POD_NAME", "agent-1")
    owner = {"kind": "DaemonSet", "name": "agent", "uid": "set-1"}
    kube.objects[POD] = {"metadata": {"ownerReferences": [owner]}}
    kube.objects[SET] = {"metadata": {"uid": "set-1"}}
    ship(node, "--kubeconfig", str(kube.kubeconfig()))
    waiting.until("it to ask for its pod", lambda: any(POD in ask for ask in kube.asked), 20)
    reply = node.host_dir / "shipper/reply.json"
    waiting.until("the shipper's first reply", reply.exists, 20)
    ours = PATTERN.read_text()
    if deleted:
        kube.objects[SET]["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    halves = (guard, node) if first == "guard" else (node, guard)
    for half in halves:
        half.process.send_signal(signal.SIGTERM)
    for half in halves:
        assert half.process.wait(timeout=60) == 0
        half.process = None
    assert PATTERN.read_text() == (borrowed if deleted else ours)
    assert (node.host_dir / "current").exists() is not deleted


def test_without_a_word_of_the_shipper_core_pattern_stays(node, guard, borrowed):
    ours = PATTERN.read_text()
    assert guard.stop() == 0
    assert PATTERN.read_text() == ours
    assert "no word of the shipper" in guard.logged()


def test_two_guards_do_not_share_a_node(node, guard):
    guard_2 = subprocess.Popen(
        [*agents.program(node.kind), "agent", "guard", "--config", str(guard.config())],
        stderr=subprocess.PIPE,
        env=agents.environment(),
        text=True,
    )
    with contextlib.closing(guard_2.stderr):
        assert "another agent still holds" in guard_2.stderr.readline()
        guard_2.terminate()
        guard_2.wait(timeout=60)
