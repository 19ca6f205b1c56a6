"""CoredumpEndpoints as tests make them."""

from __future__ import annotations

import json

from tests.e2e.support.kubectl import Kubectl

API = "/apis/coredump.fujitsu.com/v1alpha1"


def manifest(namespace: str, name: str, uid: str | None = None, **metadata: object) -> str:
    """A manifest in JSON; without `uid` the living pod supplies it."""
    document: dict[str, object] = {
        "apiVersion": "coredump.fujitsu.com/v1alpha1",
        "kind": "CoredumpEndpoint",
        "metadata": {"name": name, "namespace": namespace, **metadata},
    }
    if uid is not None:
        document["spec"] = {"podUID": uid}
    return json.dumps(document)


def create(
    kubectl: Kubectl, namespace: str, name: str, uid: str | None = None, **metadata: object
) -> None:
    kubectl("create", "-f", "-", input=manifest(namespace, name, uid, **metadata))


def dumps(kubectl: Kubectl, namespace: str, name: str) -> int:
    """How many dumps an endpoint reports."""
    found = kubectl.json("get", "coredumpendpoint", name, "-n", namespace)
    count: int = found["status"]["dumps"]
    return count


def path(namespace: str, name: str, subresource: str) -> str:
    return f"{API}/namespaces/{namespace}/coredumpendpoints/{name}/{subresource}"
