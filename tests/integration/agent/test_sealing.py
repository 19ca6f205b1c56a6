"""Cores that leave the node encrypted, or not at all."""

from __future__ import annotations

import gzip
import io
import json
import os
import signal
import subprocess
import zlib
from pathlib import Path

import pytest
from support import crashers, dumps, keys, waiting
from support.kube import podspecs
from support.node import agents, capturing, corepattern, pods
from support.server import servers

from coredumpd import sealing

CONFIG_MAP = "coredump-recipients"
PAIR = keys.age()


def wanting(kube, name="default", config_map=CONFIG_MAP):
    """A namespace that wants its cores sealed."""
    said = {"encrypt_to": config_map} if config_map else {}
    kube.objects[f"/api/v1/namespaces/{name}"] = podspecs.namespace(name, **said)


def pod(kube, namespace, uid):
    document = podspecs.pod(namespace, "web", uid)
    kube.objects[f"/api/v1/pods/{namespace}.web"] = document
    kube.objects[f"/api/v1/namespaces/{namespace}/pods/web"] = document


def recipients(kube, text, namespace="default", name=CONFIG_MAP):
    path = f"/api/v1/namespaces/{namespace}/configmaps/{name}"
    kube.objects[path] = {"metadata": {"name": name}, "data": {"recipients": text}}


def start(node, kube):
    node.start("--kubeconfig", str(kube.kubeconfig()), "--no-core-pattern")


def put(node, id, **changes):
    """As a handler that knew the pod: it was seen in its namespace."""
    node.spool.mkdir(mode=0o700, exist_ok=True)
    seen = {"namespaceUID": f"ns-{changes.get('namespace', 'default')}"}
    return dumps.spooled(node.spool, id, **seen | changes)


def opened(node, key, identity=PAIR.identity):
    """The core that the kernel sent, from the store, and its record."""
    core = io.BytesIO()
    age = gzip.decompress((node.store / key / "core.gz").read_bytes())
    sealing.open(io.BytesIO(age), core, sealing.identities(identity))
    return gzip.decompress(core.getvalue()), node.record(key)


def downloaded(node, directory: Path) -> bytes:
    """The one core that a person gets, with the identity, from a server of this store."""
    (directory / "key.txt").write_bytes(PAIR.identity)
    data, out = directory / "server", directory / "out"
    words = ["--standalone", "--data-dir", str(data), "--port", "0", "--store", node.store.as_uri()]
    with servers.running(node.kind, words, directory / "server.log"):
        command = [*agents.program(node.kind), "download", "--kubeconfig", str(data / "kubeconfig")]
        command += ["-n", "shop", "-o", str(out), "--identity", str(directory / "key.txt"), "web-0"]
        done = subprocess.run(
            command, capture_output=True, text=True, env=agents.environment(), timeout=60
        )
    assert done.returncode == 0, done.stderr
    return next(out.rglob("core")).read_bytes()


def held(node, why):
    waiting.until("the refusal", lambda: why in node.logged(), 30)
    assert node.stored() == []
    assert os.listdir(node.spool)


@pytest.mark.skipif(not corepattern.writable(), reason="core_pattern is not writable")
@pytest.mark.parametrize("mode", ["pipe", pytest.param("socket", marks=capturing.needs_sockets)])
def test_of_a_real_crash_nothing_plain_reaches_the_store(node, kube, tmp_path: Path, mode):
    wanting(kube, "shop")
    recipients(kube, f"# ours\n{PAIR.recipient}\n", "shop")
    node.policy = {"runtimeStateDirs": [str(tmp_path / "runtime")]}
    node.settings["capture"] = mode
    program = crashers.compiled("crasher", tmp_path)
    with corepattern.borrowed(), pods.running(tmp_path / "runtime") as pod:
        kube.objects["/api/v1/namespaces/shop/pods/web-0"] = podspecs.pod("shop", "web-0", pod.uid)
        node.start("--kubeconfig", str(kube.kubeconfig()))
        process = pod.start([program, "abort", "0", str(8 * 1024 * 1024)], cwd="/")
        assert process.wait(60) == -signal.SIGABRT
        (key,) = node.wait_stored(1)
        node.stop()
    core, meta = opened(node, key)
    assert len(core) == meta["core"]["size"]
    assert f"{zlib.crc32(core):08x}" == meta["core"]["crc32"]
    stored = (node.store / key / "core.gz").read_bytes()
    sealed = gzip.decompress(stored)
    assert meta["core"]["sealed"]["to"] == [PAIR.recipient]
    assert (len(sealed), len(stored)) == (
        meta["core"]["sealed"]["size"],
        meta["core"]["storedSize"],
    )
    for marker in crashers.HEAP_MARKERS:
        assert marker in core
        for file in node.store.rglob("*"):
            data = file.read_bytes() if file.is_file() else b""
            assert marker not in data
    assert all(marker not in sealed for marker in crashers.HEAP_MARKERS)
    assert downloaded(node, tmp_path) == core


def test_only_the_namespace_that_wants_it_is_sealed(node, kube):
    wanting(kube)
    wanting(kube, "other", None)
    recipients(kube, PAIR.recipient)
    start(node, kube)
    put(node, "app-1", core=b"memory")
    put(node, "app-2", core=b"memory", namespace="other", containerID="d" * 64)
    sealed, plain = node.wait_stored(2)
    assert opened(node, sealed)[0] == b"memory"
    assert "sealed" not in node.record(plain)["core"]
    assert gzip.decompress((node.store / plain / "core.gz").read_bytes()) == b"memory"
    assert "coredumpd_agent_sealed_total 1.0" in node.get("/metrics")[1]


def test_a_mistake_keeps_the_core_here_until_it_is_mended_and_tells_the_pod(node, kube):
    wanting(kube)
    start(node, kube)
    put(node, "app-1", core=b"memory")
    held(node, f"ConfigMap default/{CONFIG_MAP}")
    recipients(kube, "age1typo\n")
    held(node, "line 1 must be a public key")
    waiting.until("both Events", lambda: len(kube.created("events")) == 2, 30)
    assert {event["reason"] for event in kube.created("events")} == {"CoreDumpPolicy"}
    text = node.get("/metrics")[1]
    assert 'ship_failures_total{error="CannotSeal"}' in text
    assert "coredumpd_agent_seal_failures_total" in text
    recipients(kube, PAIR.recipient)
    (key,) = node.wait_stored(1)
    assert opened(node, key)[0] == b"memory"


def test_an_agent_that_starts_while_the_api_is_away_does_not_forget_who_wants_sealing(node, kube):
    wanting(kube)
    wanting(kube, "other", None)
    recipients(kube, PAIR.recipient)
    pod(kube, "default", "1234-5678")
    pod(kube, "other", "5678")
    start(node, kube)
    policy = node.host_dir / "policy.json"

    def proven():
        seen = json.loads(policy.read_bytes())
        lives = [one["namespaceUID"] for one in seen["identities"].values()]
        return seen["encryptTo"] and lives.count(None) == 0 and len(lives) == 2

    waiting.until("the snapshot", proven, 30)
    node.stop()
    config = str(kube.kubeconfig())
    kube.stop()
    put(node, "app-1", core=b"memory")
    put(node, "app-2", namespace="other", podUID="5678", containerID="d" * 64)
    unseen = {"namespace": "other", "podUID": "9", "namespaceUID": None}
    put(node, "app-3", containerID="e" * 64, **unseen)
    node.start("--kubeconfig", config, "--no-core-pattern")
    waiting.until("the other dump", lambda: len(node.stored()) == 1, 30)
    waiting.until("the refusal", lambda: "cannot be read" in node.logged(), 30)
    waiting.until("the third", lambda: "in which namespace app-3 was" in node.logged(), 30)
    assert [key.partition("/")[0] for key in node.stored()] == ["other"]
    kube.start()
    waiting.until("the first dump", lambda: len(node.stored()) == 2, 60)
    assert opened(node, node.stored()[0])[0] == b"memory"
    assert os.listdir(node.spool) == ["app-3"]


def test_an_agent_that_has_never_heard_of_namespaces_ships_no_pods_dump(node, kube):
    config = str(kube.kubeconfig())
    wanting(kube)
    recipients(kube, PAIR.recipient)
    pod(kube, "default", "1234-5678")
    kube.stop()
    put(node, "app-1", core=b"memory", namespaceUID=None)
    put(node, "app-2", namespace="_host", containerID=None)
    node.start("--kubeconfig", config, "--no-core-pattern")
    waiting.until("the host's dump", lambda: len(node.stored()) == 1, 30)
    waiting.until(
        "the refusal", lambda: "not known yet in which namespace app-1" in node.logged(), 30
    )
    assert [key.partition("/")[0] for key in node.stored()] == ["_host"]
    kube.start()
    _, key = node.wait_stored(2)
    assert opened(node, key)[0] == b"memory"


def test_a_core_of_a_namespace_that_is_gone_never_leaves(node, kube):
    wanting(kube)
    start(node, kube)
    put(node, "app-1", core=b"memory")
    held(node, "is not there")
    del kube.objects["/api/v1/namespaces/default"]
    waiting.until("the spool to be empty", lambda: not os.listdir(node.spool), 60)
    assert node.stored() == []
    assert "its namespace is gone" in node.logged()
    assert 'coredumpd_agent_skipped_total{reason="policy"} 1.0' in node.get("/metrics")[1]


def test_an_agent_killed_while_it_seals_loses_nothing_and_ships_nothing_plain(node, kube):
    wanting(kube)
    recipients(kube, PAIR.recipient)
    core = os.urandom(64 * 1024 * 1024)
    entry = put(node, "app-1", core=core)
    for _ in range(3):
        start(node, kube)
        waiting.until(
            "the sealing to begin",
            lambda: (entry / "sealed.gz").exists() or not entry.exists(),
            30,
            every_s=0.002,
        )
        node.kill()
    start(node, kube)
    (key,) = node.wait_stored(1)
    assert opened(node, key)[0] == core
    assert [path.name for path in node.store.rglob(".*")] == []


def test_a_store_that_fails_is_given_the_same_bytes_again(node, kube):
    wanting(kube)
    recipients(kube, PAIR.recipient)
    away = node.store.with_name("away")
    node.store.rename(away)
    start(node, kube)
    entry = put(node, "app-1", core=b"memory")
    waiting.until("two tries", lambda: node.logged().count("app-1 not shipped") > 1, 30)
    sealed = (entry / "core.gz").read_bytes()
    assert not sealed.startswith(dumps.stored(b"memory"))
    away.rename(node.store)
    (key,) = node.wait_stored(1)
    assert (node.store / key / "core.gz").read_bytes() == sealed
    assert node.logged().count("sealed app-1 to") == 1
    check = subprocess.run(
        [*agents.program(node.kind), "store", "check", "--decompress", node.store.as_uri()],
        capture_output=True,
        text=True,
        env=agents.environment(),
        timeout=60,
    )
    assert check.returncode == 0, check.stdout + check.stderr


def test_a_namespace_that_cannot_be_sealed_delays_no_other_and_asks_seldom(node, kube):
    wanting(kube, "greedy")
    wanting(kube, "other", None)
    for number in range(300):
        put(node, f"a-{number}", namespace="greedy", containerID=f"{number:064d}")
    start(node, kube)
    waiting.until("the refusal", lambda: "is not there" in node.logged(), 30)
    put(node, "b-1", namespace="other", containerID="b" * 64)
    waiting.until("the other's dump", lambda: len(node.stored()) == 1, 30)
    asked = [path for _, path, _ in kube.asked if "/configmaps/" in path]
    assert len(asked) < 100
    assert len(os.listdir(node.spool)) == 300
