from __future__ import annotations

import copy
from typing import Any

import pytest
from support.kube import podspecs

from coredumpd.kube import pods


def test_the_mirror_of_a_static_pod_may_go_by_the_hash_of_its_file_too() -> None:
    mirror = podspecs.mirror("hash")
    assert pods.uids(mirror) == {mirror["metadata"]["uid"], "hash"}


@pytest.mark.parametrize(
    ("section", "field", "value"),
    [
        ("annotations", "kubernetes.io/config.mirror", None),
        ("annotations", "kubernetes.io/config.mirror", "x"),
        ("annotations", "kubernetes.io/config.source", "api"),
        ("annotations", "kubernetes.io/config.source", None),
        ("annotations", "kubernetes.io/config.hash", "../uid"),
        ("annotations", "kubernetes.io/config.hash", ""),
        ("ownerReferences", "kind", "ReplicaSet"),
        ("ownerReferences", "name", "node2"),
        ("spec", "nodeName", "node2"),
        ("spec", "nodeName", ""),
    ],
)
def test_a_pod_that_is_no_kubelets_mirror_has_its_own_uid_alone(
    section: str, field: str, value: str | None
) -> None:
    pod = copy.deepcopy(podspecs.mirror("hash"))
    place: dict[str, Any] = {
        "annotations": pod["metadata"]["annotations"],
        "ownerReferences": pod["metadata"]["ownerReferences"][0],
        "spec": pod["spec"],
    }[section]
    place[field] = value
    assert pods.uids(pod) == {pod["metadata"]["uid"]}


def test_a_pod_without_owner_or_annotations_has_its_own_uid_alone() -> None:
    pod = podspecs.mirror("hash")
    pod["metadata"]["ownerReferences"] = None
    assert pods.static_uid(pod) is None
    assert pods.uids({"metadata": {"uid": "api"}}) == {"api"}


@pytest.mark.parametrize(
    "status",
    [
        {"containerID": "containerd://abc"},
        {"lastState": {"terminated": {"containerID": "containerd://abc"}}},
        {"state": {"terminated": {"containerID": "cri-o://abc"}}},
    ],
)
@pytest.mark.parametrize("field", ["containerStatuses", "initContainerStatuses"])
def test_a_container_is_found_running_dead_or_before_its_restart(field: str, status: Any) -> None:
    pod = {"status": {field: [{"name": "other"}, {"name": "app", **status}]}}
    assert (pods.container_status(pod, "abc") or {})["name"] == "app"
    assert pods.container_status(pod, "def") is None
    assert pods.container_status(pod, None) is None


def test_every_container_with_a_status_is_listed_with_its_kind_and_its_entry_of_the_spec() -> None:
    document = podspecs.pod("default", "web")
    document["spec"] |= {
        "containers": [{"name": "app", "command": ["x"]}, {"name": "waits"}],
        "initContainers": [{"name": "setup"}],
    }
    document["status"] = {
        "containerStatuses": [{"name": "app"}],
        "initContainerStatuses": [{"name": "setup"}],
        "ephemeralContainerStatuses": [{"name": "debugger"}],
    }
    assert list(pods.containers(document)) == [
        (None, {"name": "app", "command": ["x"]}, {"name": "app"}),
        ("init", {"name": "setup"}, {"name": "setup"}),
        ("ephemeral", {"name": "debugger"}, {"name": "debugger"}),
    ]
