"""Crashes in no container of a pod, and in a container of no pod: what the agent makes of them."""

from __future__ import annotations

import pytest
from support import crashers, waiting
from support.kube import podspecs
from support.node import capturing, corepattern, pods

pytestmark = capturing.needs_core_pattern


@pytest.fixture
def crasher(tmp_path):
    return crashers.compiled("crasher", tmp_path)


def test_a_crash_of_gvisors_sentry_is_its_pods_and_the_pods_owner_is_told(
    node, kube, crasher, tmp_path
):
    kube.objects["/api/v1/namespaces/shop"] = podspecs.namespace("shop")
    cgroup = "/kubepods/burstable/pod{uid}"
    with corepattern.borrowed(), pods.running(tmp_path / "runtime", cgroup) as pod:
        document = podspecs.pod("shop", "web-0", pod.uid)
        kube.objects["/api/v1/pods/shop.web-0"] = document
        node.start("--kubeconfig", str(kube.kubeconfig()))
        assert pod.start([crasher, "segv"], cwd="/").wait(60) < 0
        (key,) = node.wait_stored(1)
        waiting.until("the Event", lambda: kube.created("events"), 30)
        assert node.stop() == 0
    assert key.startswith(f"shop/{pod.uid}/POD/crasher-")
    assert node.record(key)["capture"]["attribution"] == "api"
    (event,) = kube.created("events")
    assert event["reason"] == "CoreDumped"
    assert event["involvedObject"]["uid"] == pod.uid
    assert "fieldPath" not in event["involvedObject"]


def test_a_container_for_which_nothing_vouches_is_counted_and_told_to_the_node(
    node, kube, crasher, tmp_path
):
    with corepattern.borrowed(), pods.running(tmp_path / "elsewhere", "/{id}") as pod:
        node.start("--kubeconfig", str(kube.kubeconfig()))
        for _ in range(2):
            assert pod.start([crasher, "segv"], cwd="/").wait(60) < 0
        waiting.until("the count", lambda: node.skipped() == {"unvouched": 2}, 30)
        waiting.until("the Event", lambda: kube.created("events"), 30)
        assert node.stop() == 0
    (event,) = kube.created("events")
    assert (event["reason"], event["involvedObject"]["kind"]) == ("CoreDumpSkipped", "Node")
    assert "set policy.runtimeStateDirs or policy.cgroupRoot" in event["message"]
    assert node.stored() == []
