"""Containers that end without a core: the pod is told why, on a node with an agent."""

from __future__ import annotations

import signal
import time

from support import crashers, dumps, waiting
from support.kube import endings, podspecs
from support.node import capturing, corepattern

WAIT_S = 60
MISSING = "CoreDumpMissing"
PODS = "/api/v1/pods/default.web"


def told(kube):
    """The Events about missing cores, by the container's fieldPath."""
    events = [event for event in kube.created("events") if event["reason"] == MISSING]
    return {event["involvedObject"]["fieldPath"]: event for event in events}


def ended(kube, code, **changes):
    """Now, as the kubelet reports it: in whole seconds."""
    finished_s = time.time() + 1
    kube.objects[PODS] = endings.pod(code, finished_s, **changes)
    return endings.timestamp(finished_s)


def test_a_container_without_a_dump_hears_why_and_one_with_a_dump_hears_nothing_of_it(node, kube):
    kube.objects["/api/v1/namespaces/default"] = podspecs.namespace("default")
    node.start("--kubeconfig", str(kube.kubeconfig()), "--no-core-pattern")
    at = ended(kube, 137, reason="OOMKilled", kind="init", container_id="d" * 64)
    document = kube.objects[PODS]
    crashed = endings.pod(139, time.time() + 1)
    document["status"] |= crashed["status"]
    document["spec"] |= crashed["spec"]
    kube.objects["/api/v1/namespaces/default/pods/web"] = document
    dumps.spooled(node.spool, "app-1", time=at, namespaceUID="ns-default")
    waiting.until("the Event", lambda: told(kube), WAIT_S)
    node.wait_stored(1)
    ended(kube, 134, container_id="e" * 64, last=True)  # a later life of the same container
    waiting.until("the second Event", lambda: len(told(kube)) == 2, WAIT_S)
    events = told(kube)
    assert set(events) == {"spec.initContainers{app}", "spec.containers{app}"}
    assert "out-of-memory killer" in events["spec.initContainers{app}"]["message"]
    assert "exit code 134 (SIGABRT)" in events["spec.containers{app}"]["message"]
    assert not events["spec.containers{app}"]["message"].count("139")
    metrics = node.get("/metrics")[1]
    for reason in ("oom-killed", "unknown"):
        assert f'coredumpd_agent_without_core_total{{reason="{reason}"}} 1.0' in metrics


@capturing.needs_core_pattern
def test_a_crash_that_its_handler_skipped_is_told_in_the_handlers_words(node, kube, pod, tmp_path):
    """A real crash, in a real cgroup: kernel, handler, its log, guard, shipper, Event."""
    kube.objects["/api/v1/namespaces/default"] = podspecs.namespace("default")
    node.policy = {"runtimeStateDirs": [str(pod.state_dir)], "honourRlimit": True}
    crasher = crashers.compiled("crasher", tmp_path)
    with corepattern.borrowed():
        node.start("--kubeconfig", str(kube.kubeconfig()))
        limited = ["prlimit", "--core=0:0", crasher, "segv"]
        assert pod.start(limited, cwd="/").wait(60) == -signal.SIGSEGV
        ended(kube, 139, container_id=pod.container_id)
        waiting.until("the Event", lambda: told(kube), WAIT_S)
        assert node.stop() == 0
    (event,) = told(kube).values()
    assert "(SIGSEGV): it may dump nothing" in event["message"]
    assert node.stored() == []
