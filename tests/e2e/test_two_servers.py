"""Two servers on one etcd are one API: each sees what the other wrote, and one is enough."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e import conftest
from tests.e2e.conftest import NAMESPACE, SERVICE, TENANT_NAMESPACE
from tests.e2e.support import coredump_endpoints
from tests.e2e.support.coredump_endpoints import API
from tests.e2e.support.direct import Server
from tests.e2e.support.kubectl import Kubectl
from tests.e2e.support.target import Target
from tests.support.waiting import until

OBJECTS = f"{API}/namespaces/{TENANT_NAMESPACE}/coredumpendpoints"
_LABEL = "app.kubernetes.io/name=coredumpd-server"


def running(admin: Kubectl) -> dict[str, str]:
    """Addresses of the ready servers, by pod."""
    pods = admin.json("get", "pods", "-n", NAMESPACE, "-l", _LABEL)["items"]
    return {
        pod["metadata"]["name"]: pod["status"]["podIP"]
        for pod in pods
        if not pod["metadata"].get("deletionTimestamp")
        and all(status["ready"] for status in pod["status"].get("containerStatuses", [{}]))
    }


@pytest.fixture
def servers(
    target: Target, admin: Kubectl, tenant: Kubectl, installation: Path
) -> Iterator[dict[str, Server]]:
    """Both servers, by pod, as the tenant sees them; afterwards the one with SQLite is back."""
    if target.own is None:
        pytest.skip("a cluster that is not ours has no etcd for our pods")
    control = target.own.control
    url = f"etcd+http://{control.etcd_for_pods}/coredumpd"
    minor = ".".join(map(str, target.own.assets.release))
    store = f"hostPath:{target.directory}/store"  # one claim has one server
    words = ("--store", store, "--objects", url, "--kubernetes", minor)
    conftest.apply(admin, conftest.render(target, *words))
    until("two servers alone", lambda: len(running(admin)) == 2, 120)
    authority = installation.parent / "pki/ca.crt"
    client = control.client("user-jane-direct", "jane")
    host = f"{SERVICE}.{NAMESPACE}.svc"
    yield {
        pod: Server(address, host, authority, client.cert, client.key)
        for pod, address in running(admin).items()
    }
    admin("delete", "poddisruptionbudget", "coredumpd-server", "-n", NAMESPACE)
    conftest.apply(admin, conftest.render(target))


def test_what_one_server_writes_the_other_lists_and_watches(
    servers: dict[str, Server], admin: Kubectl, tenant: Kubectl
) -> None:
    (_, one), (other_pod, other) = servers.items()
    status, listed = other.ask("GET", OBJECTS)
    assert status == 200
    version = listed["metadata"]["resourceVersion"]
    query = f"?watch=true&resourceVersion={version}&timeoutSeconds=20"
    with other.open("GET", OBJECTS + query) as watch:
        body = coredump_endpoints.manifest(TENANT_NAMESPACE, "shared", "some-uid")
        status, created = one.ask("POST", OBJECTS, body)
        assert status == 201, created
        event = json.loads(watch.readline())
    assert event["type"] == "ADDED"
    assert event["object"]["metadata"]["uid"] == created["metadata"]["uid"]
    assert other.ask("GET", f"{OBJECTS}/shared")[1]["metadata"] == created["metadata"]

    stale = {**created, "metadata": {**created["metadata"], "labels": {"a": "b"}}}
    assert one.ask("PUT", f"{OBJECTS}/shared", json.dumps(stale))[0] == 200
    status, conflict = other.ask("PUT", f"{OBJECTS}/shared", json.dumps(stale))
    assert (status, conflict["reason"]) == (409, "Conflict")

    admin("delete", "pod", other_pod, "-n", NAMESPACE, "--wait=false")
    for _ in range(20):  # while it leaves, every request is answered
        assert "shared" in tenant("get", "coredumpendpoints", "-n", TENANT_NAMESPACE)
    tenant("delete", "coredumpendpoint", "shared", "-n", TENANT_NAMESPACE)
