"""The agent's other half: from the spool to the store, whatever happens to either."""

from __future__ import annotations

import glob
import json
import os
import signal
import subprocess

import pytest
from support import dumps, waiting
from support.kube import podspecs
from support.node import agents


@pytest.fixture
def put(node):
    """Put a complete capture into the spool, as a handler would."""
    node.spool.mkdir(mode=0o700)

    def spooled(id, **changes):
        return dumps.spooled(node.spool, id, **changes)

    return spooled


def test_a_store_that_is_down_then_up_loses_nothing(node, put):
    away = node.store.with_name("away")
    node.store.rename(away)
    node.start("--no-kubernetes", "--no-core-pattern")
    ids = [f"app-{number}" for number in range(5)]
    for id in ids:
        put(id, containerID=id * 10)
    waiting.until("every dump to fail", lambda: "not shipped" in node.logged(), 30)
    assert len(os.listdir(node.spool)) == 5
    assert 'ship_failures_total{error="StorageError"}' in node.get("/metrics")[1]
    away.rename(node.store)
    keys = node.wait_stored(5)
    assert [key.rsplit("/", 1)[1] for key in keys] == ids


def test_an_agent_killed_while_it_ships_ships_exactly_once(node, put):
    core = os.urandom(24 * 1024 * 1024)
    for number in range(6):
        put(f"app-{number}", core=core, containerID=str(number) * 64)
    pattern = (
        f"{node.store}/**/core.gz"  # pathlib's would fail where a directory vanishes meanwhile
    )
    for _ in range(3):
        node.start("--no-kubernetes", "--no-core-pattern")
        waiting.until(
            "a commit to begin",
            lambda: list(glob.iglob(pattern, recursive=True, include_hidden=True)),
            30,
            every_s=0.005,
        )
        node.kill()
    node.start("--no-kubernetes", "--no-core-pattern")
    assert len(node.wait_stored(6)) == 6
    leftovers = [path for path in node.store.rglob(".*") if path.name.endswith(".part")]
    assert leftovers == []


def test_a_symlink_planted_in_the_store_is_refused_and_told(node, put, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (node.store / "default").symlink_to(elsewhere)
    node.start("--no-kubernetes", "--no-core-pattern")
    put("app-1")
    waiting.until("the refusal", lambda: "not shipped" in node.logged(), 30)
    assert list(elsewhere.iterdir()) == []
    (node.store / "default").unlink()
    assert len(node.wait_stored(1)) == 1


def test_a_core_that_was_damaged_in_the_spool_is_set_aside_not_shipped(node, put):
    path = put("app-1", core=b"memory" * 1000) / "core.gz"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)
    put("app-2")
    node.start("--no-kubernetes", "--no-core-pattern")
    waiting.until("the other dump", lambda: len(node.stored()) == 1, 30)
    waiting.until("the first to be set aside", (node.spool / "app-1.bad").exists, 30)
    assert "damaged" in node.logged()
    assert "coredumpd_agent_set_aside_total 1.0" in node.get("/metrics")[1]


def test_a_crash_is_confirmed_by_the_api_and_told_to_its_pod(node, put, kube):
    status = {"name": "app", "containerID": "containerd://" + "c" * 64, "restartCount": 2}
    item = podspecs.pod("default", "web", "1234-5678") | {"status": {"containerStatuses": [status]}}
    kube.objects["/api/v1/namespaces/default"] = podspecs.namespace("default")
    kube.objects["/api/v1/namespaces/default/pods/web"] = item
    node.start("--kubeconfig", str(kube.kubeconfig()), "--no-core-pattern")
    put("app-1")
    (key,) = node.wait_stored(1)
    assert node.record(key)["capture"]["attribution"] == "api"
    assert node.record(key)["restartCount"] == 2
    waiting.until("the Event", lambda: kube.created("events"), 30)
    assert kube.created("events")[0]["reason"] == "CoreDumped"


def test_an_api_that_is_down_delays_nothing(node, put, kube):
    """Once the agent, or the one before it, has seen its pod, and which namespaces seal."""
    config = str(kube.kubeconfig())
    kube.objects["/api/v1/namespaces/default"] = podspecs.namespace("default")
    kube.objects["/api/v1/pods/default.web"] = podspecs.pod("default", "web", "1234-5678")
    node.start("--kubeconfig", config, "--no-core-pattern")
    policy = node.host_dir / "policy.json"

    def proven():
        seen = json.loads(policy.read_bytes())
        own = seen["identities"].get("1234-5678", {})
        return seen["encryptTo"] is not None and own.get("namespaceUID") is not None

    waiting.until("the snapshot", proven, 30)
    node.stop()
    kube.stop()
    node.start("--kubeconfig", config, "--no-core-pattern")
    put("app-1")
    (key,) = node.wait_stored(1)
    assert node.record(key)["capture"]["attribution"] == "runtime"


def test_the_policy_is_there_for_the_handler_and_for_nobody_else(node):
    node.policy = {"hostCrashes": "store", "maxSize": "1Gi"}
    node.start("--no-kubernetes", "--no-core-pattern")
    path = node.host_dir / "policy.json"
    assert path.stat().st_mode & 0o777 == 0o600
    document = json.loads(path.read_bytes())
    assert (document["version"], document["node"]) == (1, "node1")
    assert (document["hostCrashes"], document["maxSize"]) == ("store", 1024**3)


def test_a_second_agent_of_the_node_waits_for_the_first(node):
    node.start("--no-kubernetes", "--no-core-pattern")
    words = [*agents.program(node.kind), "agent", "--config", str(node.config())]
    second = subprocess.Popen(
        [*words, "--no-kubernetes", "--no-core-pattern"],
        stderr=subprocess.PIPE,
        env=agents.environment(),
    )
    assert b"another agent still holds" in second.stderr.readline()
    assert node.stop() == 0
    while b"ready" not in (line := second.stderr.readline()):
        assert line
    second.send_signal(signal.SIGTERM)
    assert second.wait(timeout=30) == 0
    second.stderr.close()


def test_every_mistake_in_the_configuration_is_told_at_once(node):
    node.settings |= {"port": -1, "parallelShips": "many", "stoer": "x"}
    refused = node.call("run", "--config", str(node.config()))
    assert refused.returncode == 78
    for field in ("agent.port", "agent.parallelShips", "agent.stoer"):
        assert field in refused.stderr
    assert "Traceback" not in refused.stderr


def test_a_host_dir_that_others_can_write_to_is_refused(node):
    node.host_dir.chmod(0o777)
    refused = node.call("run", "--config", str(node.config()), "--no-kubernetes")
    assert refused.returncode == 77
    assert f"hostDir {node.host_dir}: must belong to root" in refused.stderr


def test_a_directory_above_host_dir_that_others_can_write_to_is_refused_by_name(node):
    above = node.host_dir / "above"
    above.mkdir()
    above.chmod(0o1777)
    node.settings["hostDir"] = str(above / "h")
    refused = node.call("run", "--config", str(node.config()), "--no-kubernetes")
    assert refused.returncode == 77
    assert f"{above}, above it, must belong to root" in refused.stderr
    assert "belongs to uid 0 and has mode 1777" in refused.stderr
    assert not (above / "h").exists()


def test_a_host_dir_that_others_can_read_is_closed_to_them(node):
    node.host_dir.chmod(0o755)
    node.start("--no-kubernetes", "--no-core-pattern")
    assert node.host_dir.stat().st_mode & 0o777 == 0o700


def test_the_agent_is_small(node, put, kube):
    kube.objects["/api/v1/namespaces/default"] = podspecs.namespace("default")
    kube.objects["/api/v1/pods/default.web"] = podspecs.pod("default", "web", "1234-5678")
    node.start("--kubeconfig", str(kube.kubeconfig()), "--no-core-pattern")
    put("app-1", core=os.urandom(8 * 1024 * 1024))
    node.wait_stored(1)
    assert node.resident_kib() <= 96 * 1024
