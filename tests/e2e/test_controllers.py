"""kube-controller-manager takes our objects for native ones, and has nothing to complain about."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import pytest

from tests.e2e.support import controllers, coredump_endpoints
from tests.e2e.support.kubectl import Kubectl
from tests.e2e.support.target import Target
from tests.support.waiting import until

# Controllers look for new kinds twice a minute.
_CONTROLLER_S = 120.0


@pytest.fixture
def quiet(target: Target, tenant: Kubectl) -> Iterator[None]:
    """Fails when kube-controller-manager logs an error or a warning about our group meanwhile."""
    if target.own is None:
        yield
        return
    before = len(target.own.log(controllers.NAME))
    yield
    assert not controllers.complaints(target.own.log(controllers.NAME)[before:])


@pytest.fixture
def namespace(admin: Kubectl) -> Iterator[str]:
    name = f"controllers-{secrets.token_hex(3)}"
    admin("create", "namespace", name)
    yield name
    admin("delete", "namespace", name, "--ignore-not-found", "--wait=false")


def test_deleting_a_namespace_deletes_its_endpoints_and_does_not_hang(
    admin: Kubectl, namespace: str, quiet: None
) -> None:
    for name in ("one", "two", "three"):
        coredump_endpoints.create(admin, namespace, name, "uid-of-a-deleted-pod")
    admin("delete", "namespace", namespace, "--wait=true", "--timeout=60s")
    left = admin.json("get", "coredumpendpoints", "--all-namespaces")["items"]
    assert not [item for item in left if item["metadata"]["namespace"] == namespace]


def test_an_endpoint_goes_when_its_owner_goes(admin: Kubectl, namespace: str, quiet: None) -> None:
    admin("create", "configmap", "owner", "-n", namespace)
    uid = admin.json("get", "configmap", "owner", "-n", namespace)["metadata"]["uid"]
    owner = {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": uid}
    coredump_endpoints.create(admin, namespace, "owned", "some-uid", ownerReferences=[owner])
    coredump_endpoints.create(admin, namespace, "free", "some-uid")
    admin("delete", "configmap", "owner", "-n", namespace)

    def names() -> list[str]:
        found = admin.json("get", "coredumpendpoints", "-n", namespace)["items"]
        return [item["metadata"]["name"] for item in found]

    until("the garbage collector", lambda: names() == ["free"], _CONTROLLER_S)


def test_a_resource_quota_counts_endpoints(admin: Kubectl, namespace: str, quiet: None) -> None:
    count = "count/coredumpendpoints.coredump.fujitsu.com"
    # Made before the quota: what comes later is counted at once for native kinds only, by the
    # admission of kube-apiserver; for ours every five minutes. Deletions are seen at once.
    for name in ("one", "two"):
        coredump_endpoints.create(admin, namespace, name, "some-uid")
    admin("create", "quota", "doors", f"--hard={count}=5", "-n", namespace)

    def used() -> str:
        quota = admin.json("get", "quota", "doors", "-n", namespace)
        value: str = quota.get("status", {}).get("used", {}).get(count, "")
        return value

    until("the quota to count two", lambda: used() == "2", _CONTROLLER_S)
    admin("delete", "coredumpendpoint", "one", "-n", namespace)
    until("the quota to count one", lambda: used() == "1", _CONTROLLER_S)
