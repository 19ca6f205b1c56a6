from __future__ import annotations

import asyncio
from typing import Any

import pytest
from support import dumps
from support.kube import podspecs

from coredumpd import errors
from coredumpd.agent.shipping import attribution
from coredumpd.formats import record as records

CONTAINER_ID = "c" * 64
CRASHED = "2026-01-02T03:04:05.000Z"  # as `dumps` has it
UNNAMED = {"namespace": None, "podName": None, "container": None}


def pod(uid: str = "1234-5678", **changes: Any) -> dict[str, Any]:
    document = podspecs.pod("default", "web", uid)
    document["metadata"] |= changes
    status = {"name": "app", "image": "local/app:1", "restartCount": 3}
    status["lastState"] = {"terminated": {"containerID": f"containerd://{CONTAINER_ID}"}}
    document["status"] = {"containerStatuses": [status]}
    return document


STARTING = pod() | {"status": {}}  # the kubelet has not reported its containers yet


class Api:
    """Answers requests for pods with `pods`, those for the namespace with `namespace`."""

    def __init__(self, pods: Any, namespace: Any = None) -> None:
        self.pods = pods
        self.namespace = namespace or podspecs.namespace("default", "ns-1")

    async def request(self, method: str, path: str, *args: Any, **named: Any) -> tuple[int, Any]:
        answer = self.namespace if path == "/api/v1/namespaces/default" else self.pods
        if isinstance(answer, Exception):
            raise answer
        return 200, answer


class Tenants:
    """What the agent has seen of the pod, and whether nobody seals or opts out."""

    def __init__(self, life: str | None = None, free: bool = False) -> None:
        self.life = life
        self.free = free
        self.pods: list[str] = []

    def life_of(self, record: records.CrashRecord) -> str | None:
        return self.life

    def note_pod(self, document: dict[str, Any]) -> None:
        self.pods.append(document["metadata"]["uid"])

    def is_free(self) -> bool:
        return self.free


def attribute(
    pods: Any, *, present: Any = None, tenants: Tenants | None = None, **changes: Any
) -> dict[str, Any]:
    """The record as it is in the end: patience is tested by itself."""
    kube = None if pods is None else Api(pods, present)
    seen = tenants or Tenants()
    attributor = attribution.Attributor(kube, "node1", seen, unnamed_patience_s=0.0)
    return asyncio.run(attributor.attribute(dumps.crash(**changes))).raw


def test_a_record_that_the_api_confirms_says_so_and_knows_more() -> None:
    raw = attribute(pod(labels={"app": "web"}))
    assert raw["capture"]["attribution"] == "api"
    assert raw["podLabels"] == {"app": "web"}
    assert raw["restartCount"] == 3
    assert raw["namespaceUID"] == "ns-1"


@pytest.mark.parametrize(("value", "pins"), [("true", True), ("false", False), ("yes", False)])
def test_a_pod_may_pin_its_dumps(value: str, pins: bool) -> None:
    annotations = {"coredump.fujitsu.com/keep": value}
    assert (attribute(pod(annotations=annotations)).get("keep") is True) == pins
    assert "keep" not in attribute(pod(), keep=True)  # only the pod's own word counts


def test_a_new_pod_of_the_same_name_does_not_get_the_crash_of_the_old_one() -> None:
    raw = attribute(pod(uid="another"), tenants=Tenants("ns-1"))
    assert (raw["podUID"], raw["capture"]["attribution"]) == ("1234-5678", "runtime")
    assert "podLabels" not in raw


@pytest.mark.parametrize("field", ["namespace", "name"])
def test_a_record_that_contradicts_the_api_is_no_dump(field: str) -> None:
    """As a handler that was taken over could write it."""
    with pytest.raises(errors.BadRecord, match="1234-5678 is not"):
        attribute(pod(**{field: "another"}))


def test_a_record_of_a_pod_of_another_node_is_no_dump() -> None:
    elsewhere = pod() | {"spec": {"nodeName": "node2"}}
    with pytest.raises(errors.BadRecord, match="not on this node"):
        attribute(elsewhere)


def test_a_record_that_names_another_namespaces_uid_than_its_pods_is_no_dump() -> None:
    for changes in ({"tenants": Tenants("ns-2")}, {"namespaceUID": "ns-2"}):
        with pytest.raises(errors.BadRecord, match="but its pod is in ns-1"):
            attribute(pod(), **changes)  # type: ignore[arg-type]
    with pytest.raises(errors.BadRecord, match="but its pod is in ns-3"):
        attribute(errors.NotFound("gone"), tenants=Tenants("ns-3"), namespaceUID="ns-1")


@pytest.mark.parametrize("namespace", ["ns-2", errors.NotFound("gone")])
@pytest.mark.parametrize("changes", [{"tenants": Tenants("ns-1")}, {"namespaceUID": "ns-1"}])
def test_a_crash_of_a_namespace_that_is_gone_is_not_its_successors(
    namespace: Any, changes: Any
) -> None:
    if isinstance(namespace, str):
        namespace = podspecs.namespace("default", namespace)
    with pytest.raises(attribution.NamespaceGoneError):
        attribute(errors.NotFound("gone"), present=namespace, **changes)


@pytest.mark.parametrize("free", [True, False])
@pytest.mark.parametrize("since", ["2020-01-02T00:00:00Z", "2026-01-02T03:04:06Z", None])
def test_a_gone_pod_that_nobody_ever_saw_may_have_opted_out_so_its_dump_stays_here(
    since: str | None, free: bool
) -> None:
    namespace = podspecs.namespace("default", "ns-2", since or "")
    if since is None:
        del namespace["metadata"]["creationTimestamp"]
    with pytest.raises(errors.CannotAttribute, match="was never seen here"):
        attribute(errors.NotFound("gone"), present=namespace, tenants=Tenants(free=free))
    with pytest.raises(errors.CannotAttribute, match="was never seen here"):
        attribute({"items": []}, present=namespace, tenants=Tenants(free=free), **UNNAMED)


def test_a_pod_that_the_api_shows_is_noted_with_what_it_asks_for() -> None:
    tenants = Tenants()
    attribute(pod(), tenants=tenants)
    assert tenants.pods == ["1234-5678"]


def test_a_pod_older_than_the_namespace_that_has_the_name_now_does_not_prove_it() -> None:
    namespace = podspecs.namespace("default", "ns-2", "2026-01-02T03:04:00Z")
    with pytest.raises(errors.CannotAttribute):
        attribute(pod(creationTimestamp="2026-01-02T03:03:59Z"), present=namespace)
    raw = attribute(pod(creationTimestamp="2026-01-02T03:04:00Z"), present=namespace)
    assert raw["namespaceUID"] == "ns-2"


@pytest.mark.parametrize("away", ["pods", "present"])
@pytest.mark.parametrize("changes", [{"tenants": Tenants("ns-1")}, {"namespaceUID": "ns-1"}])
def test_while_the_api_is_away_only_a_proven_namespace_is_shipped(away: str, changes: Any) -> None:
    error = errors.Unavailable("away")
    answers: dict[str, Any] = {"pods": errors.NotFound("gone"), away: error}
    raw = attribute(**answers, **changes)
    assert (raw["capture"]["attribution"], raw["namespaceUID"]) == ("runtime", "ns-1")
    with pytest.raises(errors.Unavailable, match="not known yet in which namespace"):
        attribute(**answers)


def static(name: str = "web", hash: str = "1234-5678", **changes: Any) -> dict[str, Any]:
    return podspecs.mirror(hash, "default", name) | changes


def test_a_static_pods_crash_gets_the_uid_that_the_api_knows() -> None:
    mirror = static()
    assert attribute(mirror)["podUID"] == mirror["metadata"]["uid"]


@pytest.mark.parametrize("name", ["thief", "web"])
def test_a_hash_claims_nothing_without_the_runtimes_names(name: str) -> None:
    """A tenant can write every annotation, owner and node of such a pod, but not its names."""
    thief = static(name, "1234-5678")
    thief["metadata"]["namespace"] = "evil"
    thief["status"] = pod()["status"]
    with pytest.raises(errors.CannotAttribute, match="pod 1234-5678 is gone, and was never seen"):
        attribute({"items": [thief]}, **UNNAMED)
    assert attribute(thief, tenants=Tenants("ns-1"))["podUID"] == "1234-5678"


def test_a_static_pod_known_by_its_cgroup_alone_is_nobodys() -> None:
    mirror = static() | {"status": pod()["status"]}
    with pytest.raises(errors.CannotAttribute):
        attribute({"items": [mirror]}, **UNNAMED)


def test_a_crash_known_by_its_cgroup_is_named_by_the_api() -> None:
    raw = attribute({"items": [pod(uid="other"), pod()]}, **UNNAMED)
    assert (raw["namespace"], raw["podName"], raw["container"]) == ("default", "web", "app")
    assert raw["namespaceUID"] == "ns-1"


def test_a_crash_known_by_its_cgroup_waits_for_the_api() -> None:
    with pytest.raises(errors.Unavailable):
        attribute(errors.Unavailable("away"), **UNNAMED)


def test_a_container_in_no_status_yet_is_asked_for_again() -> None:
    attributor = attribution.Attributor(Api({"items": []}), "node1", Tenants(free=True))
    with pytest.raises(errors.Unavailable, match="of pod 1234-5678 on this node yet"):
        asyncio.run(attributor.attribute(dumps.crash(**UNNAMED)))


@pytest.mark.parametrize("answer", [None, {"items": [pod(uid="other"), STARTING]}])
def test_a_crash_that_nobody_can_name_goes_where_only_admins_look(answer: Any) -> None:
    raw = attribute(answer, tenants=Tenants(free=True), **UNNAMED)
    assert (raw["namespace"], raw["node"]) == ("_host", "node1")


@pytest.mark.parametrize("changes", [{}, {"containerID": "d" * 64}])
def test_a_crash_that_nobody_can_name_stays_here_while_somebody_seals_or_opts_out(
    changes: dict[str, Any],
) -> None:
    shown = pod() if changes else STARTING
    with pytest.raises(errors.CannotAttribute, match="may forbid"):
        attribute({"items": [shown]}, **UNNAMED | changes)
