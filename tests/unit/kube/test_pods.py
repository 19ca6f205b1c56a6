from __future__ import annotations

from typing import Any

import pytest

from coredumpd.kube import pods


def test_a_mirror_pod_goes_by_the_hash_of_its_file_too() -> None:
    annotations = {"kubernetes.io/config.hash": "hash", "kubernetes.io/config.mirror": "hash"}
    assert pods.uids({"metadata": {"uid": "api", "annotations": annotations}}) == {"api", "hash"}
    assert pods.uids({"metadata": {"uid": "api"}}) == {"api"}


def test_a_hash_that_anybody_can_write_on_a_pod_is_not_its_uid() -> None:
    annotations = {"kubernetes.io/config.hash": "victim"}
    assert pods.uids({"metadata": {"uid": "own", "annotations": annotations}}) == {"own"}


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
