"""Every place a pod's crash can come from: sandboxes, cgroups outside kubepods, static pods."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support import waiting
from support.node import capturing, installed, kernellog, pods

pytestmark = capturing.needs_core_pattern
K3S = Path("/run/k3s/containerd/io.containerd.runtime.v2.task/k8s.io")
CRI = "io.kubernetes.cri."


def sandbox(pod: pods.Pod, claim: str = "") -> dict[str, Any]:
    """The state file of a pod's sandbox, as containerd writes it."""
    names = {"namespace": "shop", "name": "web-0", "uid": pod.uid}
    annotations = {f"{CRI}sandbox-{key}": value for key, value in names.items()}
    annotations[f"{CRI}container-type"] = "sandbox"
    return {"annotations": annotations, "linux": {"cgroupsPath": claim or pod.path}}


def crio_sandbox(pod: pods.Pod) -> dict[str, Any]:
    names = {"pod.name": "web-0", "pod.namespace": "shop", "pod.uid": pod.uid}
    annotations = {f"io.kubernetes.{key}": value for key, value in names.items()}
    annotations["io.kubernetes.container.name"] = "POD"
    return {"annotations": annotations, "linux": {"cgroupsPath": pod.path}}


def said(log: Callable[[], list[str]], words: str) -> str:
    """The line of the kernel's log that has these words."""
    lines: list[str] = []

    def line() -> str | None:
        lines.extend(log())
        return next((one for one in lines if words in one), None)

    return str(waiting.until(words, line, 30, 0.02))


@pytest.mark.parametrize("state", [sandbox, crio_sandbox])
def test_a_crash_of_a_sandbox_is_stored_under_its_pod(
    handler: installed.Installed, pod: pods.Pod, crasher: Path, state: Any
) -> None:
    pod.write_state(state(pod))
    record = capturing.read(capturing.crash(handler, pod, crasher, "segv"))
    assert str(record.key()) == f"shop/{pod.uid}/POD/{record.id}"
    assert record.attribution == "runtime"


@pytest.mark.parametrize(
    "cgroup",
    [
        "/kubepods/burstable/pod{uid}/kata_{id}",  # kata's VMM, sandbox_cgroup_only
        "/kata_overhead/{id}",  # without
        "/kata_overhead/kubepods/burstable/pod{uid}/{id}",  # as its runtime-rs does
    ],
)
def test_a_crash_of_katas_machine_monitor_is_stored_under_its_pod(
    handler: installed.Installed, tmp_path: Path, crasher: Path, cgroup: str
) -> None:
    with pods.running(tmp_path / "runtime", cgroup) as pod:
        pod.write_state(sandbox(pod, f"/kubepods/burstable/pod{pod.uid}/{pod.container_id}"))
        record = capturing.read(capturing.crash(handler, pod, crasher, "segv"))
    assert str(record.key()) == f"shop/{pod.uid}/POD/{record.id}"


@pytest.mark.parametrize(
    "cgroup",
    [
        "/kubepods/burstable/pod{uid}",  # gVisor's sentry
        "/kubepods/burstable/pod{uid}/crio-conmon-{id}.scope",
    ],
)
def test_a_crash_in_a_pods_own_cgroup_waits_for_the_api_to_name_its_pod(
    handler: installed.Installed, tmp_path: Path, crasher: Path, cgroup: str
) -> None:
    with pods.running(tmp_path / "runtime", cgroup) as pod:
        record = capturing.read(capturing.crash(handler, pod, crasher, "segv"))
    assert (record.namespace, record.pod_uid, record.container_id) == (None, pod.uid, None)
    assert record.attribution == "cgroup-only"


@pytest.mark.parametrize("cgroup", ["/{id}", "/k8s.io/{id}"])
def test_without_cgroups_per_qos_roots_state_file_vouches_for_the_container(
    handler: installed.Installed, tmp_path: Path, crasher: Path, cgroup: str
) -> None:
    with pods.running(tmp_path / "runtime", cgroup) as pod:
        record = capturing.read(capturing.crash(handler, pod, crasher, "segv"))
    assert capturing.belongs(record, pod)
    assert record.container_id == pod.container_id


@pytest.mark.parametrize(
    ("cgroup", "claim", "reason"),
    [
        ("/{id}", None, "no directory in policy.runtimeStateDirs has its state file"),
        ("/lxc.payload.guest/{id}", "/{id}", "linux.cgroupsPath"),
        ("/guest/kubepods/burstable/pod{uid}/{id}", None, "set policy.cgroupRoot"),
    ],
)
def test_a_container_for_which_nothing_vouches_is_said_by_name_and_not_stored(
    handler: installed.Installed,
    tmp_path: Path,
    crasher: Path,
    cgroup: str,
    claim: str | None,
    reason: str,
) -> None:
    with pods.running(tmp_path / "runtime", cgroup) as pod, kernellog.following() as log:
        if claim is None:
            shutil.rmtree(pod.state_dir)
        else:
            path = claim.format(id=pod.container_id)
            pod.write_state(pod.containerd_state() | {"linux": {"cgroupsPath": path}})
        with capturing.owning(handler):
            process = pod.start([crasher, "segv"], cwd="/")
            process.wait(timeout=60)
            line = said(log, f"unvouched crash of pid {process.pid} ")
    assert reason in line
    assert handler.entries() == []


def test_a_container_that_is_no_pods_is_passed_over_in_silence(
    handler: installed.Installed, tmp_path: Path, crasher: Path
) -> None:
    with pods.running(tmp_path / "runtime", "/libpod/{id}") as pod, kernellog.following() as log:
        pod.write_state({"annotations": {"org.example": "x"}, "linux": {"cgroupsPath": pod.path}})
        with capturing.owning(handler):
            process = pod.start([crasher, "segv"], cwd="/")
            process.wait(timeout=60)
            line = said(log, f"crash of pid {process.pid} ")
    assert "skipped crash" in line
    assert "it is in no pod (policy.hostCrashes: ignore)" in line


def test_a_static_pod_is_known_by_the_hash_of_its_file(
    handler: installed.Installed, tmp_path: Path, crasher: Path
) -> None:
    with pods.running(tmp_path / "runtime", uid="0123456789abcdef" * 2) as pod:
        record = capturing.read(capturing.crash(handler, pod, crasher, "segv"))
    assert capturing.belongs(record, pod)


def test_a_node_in_a_container_has_its_kubelets_root_before_every_path(
    handler: installed.Installed, tmp_path: Path, crasher: Path
) -> None:
    root = f"/docker/{'d' * 64}/kubelet"
    handler.policy(runtimeStateDirs=[str(tmp_path / "runtime")], cgroupRoot=root)
    with pods.running(tmp_path / "runtime", root + pods.CGROUP) as pod:
        inner = pods.CGROUP.format(uid=pod.uid, id=pod.container_id)
        pod.write_state(pod.containerd_state() | {"linux": {"cgroupsPath": inner}})
        record = capturing.read(capturing.crash(handler, pod, crasher, "segv"))
    assert capturing.belongs(record, pod)


@pytest.fixture
def k3s() -> Iterator[Path]:
    """The directory of k3s's containerd, on a machine that has no k3s."""
    if K3S.parents[2].exists():
        pytest.skip("there is a k3s")
    yield K3S
    shutil.rmtree(K3S.parents[2], ignore_errors=True)


def test_k3s_and_rke2_need_no_setting(
    handler: installed.Installed, k3s: Path, crasher: Path
) -> None:
    handler.policy()
    with pods.running(k3s) as pod:
        record = capturing.read(capturing.crash(handler, pod, crasher, "segv"))
    assert capturing.belongs(record, pod)
    assert record.attribution == "runtime"
