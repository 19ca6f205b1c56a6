from __future__ import annotations

import asyncio
from typing import Any

import pytest
from support import dumps

from coredumpd import errors
from coredumpd.agent.shipping import attribution

CONTAINER_ID = "c" * 64


def pod(uid: str = "1234-5678", **metadata: Any) -> dict[str, Any]:
    status = {"name": "app", "image": "local/app:1", "restartCount": 3}
    status["lastState"] = {"terminated": {"containerID": f"containerd://{CONTAINER_ID}"}}
    owner = {"kind": "ReplicaSet", "name": "web-1", "controller": True}
    meta = {"name": "web", "namespace": "default", "uid": uid, "labels": {"app": "web"}}
    return {
        "metadata": meta | {"ownerReferences": [owner]} | metadata,
        "status": {"containerStatuses": [status]},
    }


class Api:
    """Answers as told; the real client is tested against a real server elsewhere."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    async def request(self, method: str, path: str, *args: Any, **named: Any) -> tuple[int, Any]:
        if isinstance(self.answer, Exception):
            raise self.answer
        if path == "/api/v1/namespaces/default":
            return 200, {"metadata": {"uid": "ns-1"}}
        return 200, self.answer


def attribute(answer: Any, **changes: Any) -> dict[str, Any]:
    """The record as it is in the end: patience is tested by itself."""
    kube = None if answer is None else Api(answer)
    attributor = attribution.Attributor(kube, "node1", unnamed_patience_s=0.0)
    return asyncio.run(attributor.attribute(dumps.crash(**changes))).raw


UNNAMED = {"namespace": None, "podName": None, "container": None}


def test_a_record_that_the_api_confirms_says_so_and_knows_more() -> None:
    raw = attribute(pod())
    assert raw["capture"]["attribution"] == "api"
    assert raw["owner"] == {"kind": "ReplicaSet", "name": "web-1"}
    assert raw["podLabels"] == {"app": "web"}
    assert raw["restartCount"] == 3
    assert raw["namespaceUID"] == "ns-1"


@pytest.mark.parametrize(("value", "pins"), [("true", True), ("false", False), ("yes", False)])
def test_a_pod_may_pin_its_dumps(value: str, pins: bool) -> None:
    annotations = {"coredump.fujitsu.com/keep": value}
    assert (attribute(pod(annotations=annotations)).get("keep") is True) == pins
    assert "keep" not in attribute(pod(), keep=True)  # only the pod's own word counts


def test_a_new_pod_of_the_same_name_does_not_get_the_crash_of_the_old_one() -> None:
    raw = attribute(pod(uid="another"))
    assert (raw["podUID"], raw["capture"]["attribution"]) == ("1234-5678", "runtime")
    assert "podLabels" not in raw


def test_a_static_pods_crash_gets_the_uid_that_the_api_knows() -> None:
    annotations = {"kubernetes.io/config.mirror": "x", "kubernetes.io/config.hash": "1234-5678"}
    assert attribute(pod(uid="mirror-uid", annotations=annotations))["podUID"] == "mirror-uid"


def test_a_hash_annotation_alone_claims_nothing() -> None:
    raw = attribute(pod(uid="thief", annotations={"kubernetes.io/config.hash": "1234-5678"}))
    assert raw["podUID"] == "1234-5678"


@pytest.mark.parametrize("error", [errors.NotFound("gone"), errors.Unavailable("away")])
def test_names_from_the_node_stand_when_the_api_cannot_confirm(error: Exception) -> None:
    assert attribute(error)["capture"]["attribution"] == "runtime"


def test_a_crash_known_by_its_cgroup_is_named_by_the_api() -> None:
    raw = attribute({"items": [pod(uid="other"), pod()]}, **UNNAMED)
    assert (raw["namespace"], raw["podName"], raw["container"]) == ("default", "web", "app")


def test_a_crash_known_by_its_cgroup_waits_for_the_api() -> None:
    with pytest.raises(errors.Unavailable):
        attribute(errors.Unavailable("away"), **UNNAMED)


def test_a_container_in_no_status_yet_is_asked_for_again() -> None:
    attributor = attribution.Attributor(Api({"items": []}), "node1")
    with pytest.raises(errors.Unavailable, match="1234-5678 on this node yet"):
        asyncio.run(attributor.attribute(dumps.crash(**UNNAMED)))


@pytest.mark.parametrize("answer", [None, {"items": []}])
def test_a_crash_that_nobody_can_name_goes_where_only_admins_look(answer: Any) -> None:
    raw = attribute(answer, **UNNAMED)
    assert (raw["namespace"], raw["node"]) == ("_host", "node1")


def test_another_container_of_the_pod_is_not_mistaken_for_the_crashed_one() -> None:
    assert attribute({"items": [pod()]}, **UNNAMED, containerID="d" * 64)["namespace"] == "_host"
