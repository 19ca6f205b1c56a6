"""The agent and the real /proc/sys: each test borrows it."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import crashers, waiting
from support.node import agents, corepattern, installed, pods

PATTERN, LIMIT, _ = corepattern.SYSCTLS
POD = "/api/v1/namespaces/coredumpd/pods/agent-1"
SET = "/apis/apps/v1/namespaces/coredumpd/daemonsets/agent"

pytestmark = pytest.mark.skipif(not corepattern.writable(), reason="core_pattern is not writable")


@pytest.fixture
def borrowed() -> Iterator[tuple[str, str]]:
    """A core_pattern of this test's own, and the limit beside it."""
    with corepattern.borrowed():
        PATTERN.write_text("core.before\n")
        LIMIT.write_text("3\n")
        yield values()


def values() -> tuple[str, str]:
    return PATTERN.read_text(), LIMIT.read_text()


def test_install_and_uninstall_leave_the_node_as_it_was(node, borrowed):
    installed = node.call("install", "--config", str(node.config()))
    assert installed.returncode == 0, installed.stderr
    assert values() == (installed.stdout, "128\n")
    assert PATTERN.read_text().startswith(f"|{node.host_dir}/current/coredumpd handle ")
    undone = node.call("uninstall", "--config", str(node.config()))
    assert undone.returncode == 0, undone.stderr
    assert values() == borrowed
    assert not node.host_dir.exists()


def test_the_original_is_saved_once_and_survives_a_second_install(node, borrowed):
    for _ in range(2):
        assert node.call("install", "--config", str(node.config())).returncode == 0
    assert node.call("uninstall", "--config", str(node.config())).returncode == 0
    assert values() == borrowed
    again = node.call("uninstall", "--config", str(node.config()))
    assert (again.returncode, values()) == (0, borrowed)


def test_who_may_not_uninstall_hears_it_and_nothing_to_uninstall_is_said(node, borrowed):
    assert node.call("install", "--config", str(node.config())).returncode == 0
    nobody = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"]
    program = [*nobody, *agents.program(node.kind)]
    words = ["agent", "uninstall", "--host-dir", str(node.host_dir)]
    readable = subprocess.run([*program, "--version"], cwd=installed.ROOT).returncode == 0
    refused = subprocess.run([*program, *words], cwd=installed.ROOT, capture_output=True, text=True)
    assert node.call("uninstall", "--config", str(node.config())).returncode == 0
    assert values() == borrowed
    again = node.call("uninstall", "--config", str(node.config()))
    assert f"nothing is installed in {node.host_dir}" in again.stdout
    if not readable:
        pytest.skip("nobody cannot read this checkout")
    assert refused.returncode == 77
    assert f"hostDir {node.host_dir} belongs to uid 0: run this as that user" in refused.stderr


def test_printing_the_pattern_leaves_the_kernel_alone(node, borrowed):
    printed = node.call("install", "--host-dir", str(node.host_dir), "--no-core-pattern")
    assert printed.returncode == 0, printed.stderr
    assert values() == borrowed
    assert printed.stdout.startswith(f"|{node.host_dir}/current/coredumpd handle %P ")
    handler = printed.stdout[1:].split()[0]
    assert os.access(handler, os.X_OK)


def test_the_kubelets_own_thresholds_become_numbers_of_the_policy(node, tmp_path):
    kubelet = tmp_path / "kubelet.yaml"
    kubelet.write_text("evictionHard: {nodefs.available: 20%, nodefs.inodesFree: 7%}\n")
    kubelet.chmod(0o644)
    node.settings["kubeletConfig"] = str(kubelet)
    printed = node.call("install", "--config", str(node.config()), "--no-core-pattern")
    assert printed.returncode == 0, printed.stderr
    policy = json.loads((node.host_dir / "policy.json").read_text())
    disk = os.statvfs(node.host_dir)
    assert policy["spoolKeepFree"] == disk.f_blocks * disk.f_frsize // 4
    assert policy["spoolKeepFreeInodes"] == disk.f_files * 12 // 100


def test_another_program_that_took_core_pattern_over_keeps_it(node, borrowed):
    assert node.call("install", "--config", str(node.config())).returncode == 0
    PATTERN.write_text("|/bin/other %p\n")
    undone = node.call("uninstall", "--config", str(node.config()))
    assert "not ours" in undone.stdout
    assert PATTERN.read_text() == "|/bin/other %p\n"


def test_drift_is_corrected_counted_logged_and_told(node, borrowed, kube, monkeypatch):
    node.start("--kubeconfig", str(kube.kubeconfig()))
    ours = values()
    PATTERN.write_text("|/bin/evil %p\n")
    began_s = time.monotonic()
    waiting.until("the correction", lambda: values() == ours, 10, 0.02)
    assert time.monotonic() - began_s < 5  # promised: 2 s; the machine may be busy
    waiting.until("the Event", lambda: kube.created("events"), 10, 0.05)
    (event,) = kube.created("events")
    assert event["involvedObject"]["name"] == "node1"
    assert event["reason"] == "CorePatternDrift"
    assert "|/bin/evil %p" in event["message"]
    assert "|/bin/evil %p" in node.logged()
    assert "coredumpd_agent_core_pattern_corrections_total 1.0" in node.get("/metrics")[1]
    assert node.get("/healthz") == (200, "ok\n")


def test_a_sigterm_leaves_the_handler_and_a_restart_finds_it(node, borrowed):
    node.start("--no-kubernetes")
    ours = values()
    assert node.stop() == 0
    assert values() == ours
    node.start("--no-kubernetes", "--restore-on-exit")
    assert node.stop() == 0
    assert values() == borrowed


def test_a_killed_agent_leaves_a_working_node(node, borrowed, tmp_path):
    node.policy = {"runtimeStateDirs": [str(tmp_path / "runtime")]}
    node.start("--no-kubernetes")
    node.kill()
    with pods.running(tmp_path / "runtime") as pod:
        program = crashers.compiled("crasher", tmp_path)
        pod.start([program]).wait(timeout=60)
        waiting.until("the capture", lambda: list(node.spool.glob("*/meta.json")), 60)
    node.start("--no-kubernetes", "--restore-on-exit")
    (key,) = node.wait_stored(1)
    assert key.startswith(f"shop/{pod.uid}/app/crasher-")
    assert node.stop() == 0
    assert values() == borrowed


@pytest.mark.parametrize(
    ("what", "restored"),
    [("deleted", True), ("gone", True), ("rights gone", True), ("there", False), ("down", False)],
)
def test_the_end_of_the_daemonset_is_the_end_of_the_installation(
    node, borrowed, kube, monkeypatch, what, restored
):
    monkeypatch.setenv("POD_NAMESPACE", "coredumpd")
    monkeypatch.setenv("POD_NAME", "agent-1")
    owner = {"kind": "DaemonSet", "name": "agent", "uid": "set-1"}
    kube.objects[POD] = {"metadata": {"ownerReferences": [owner]}}
    kube.objects[SET] = {"metadata": {"uid": "set-1"}}
    node.start("--kubeconfig", str(kube.kubeconfig()))
    waiting.until("it to ask for its pod", lambda: any(POD in ask for ask in kube.asked), 20)
    ours = values()
    match what:
        case "deleted":
            kube.objects[SET]["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
        case "gone":
            del kube.objects[SET]
        case "rights gone":
            kube.answers["GET", SET] = (403, {"message": "no"})
        case "down":
            kube.stop()
    assert node.stop() == 0
    assert values() == (borrowed if restored else ours)
    assert (node.host_dir / "current").exists() is not restored


def test_what_the_kernel_refuses_is_a_clear_error(node, borrowed):
    node.settings["hostDir"] = "/var/lib/" + "x" * 100
    refused = node.call("run", "--config", str(node.config()), "--no-kubernetes")
    assert refused.returncode == 78
    assert "127" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert not Path(node.settings["hostDir"]).exists()
    assert values() == borrowed
