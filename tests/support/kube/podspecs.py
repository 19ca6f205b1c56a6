"""Pods and namespaces as an API server answers them, made by hand."""

from __future__ import annotations

from typing import Any

NODE = "node1"
LONG_AGO = "2025-01-01T00:00:00Z"  # before the crash of every dump that `dumps` makes
PREFIX = "coredump.fujitsu.com/"


def annotations(**ours: str) -> dict[str, str]:
    return {PREFIX + name.replace("_", "-"): value for name, value in ours.items()}


def namespace(name: str, uid: str | None = None, since: str = LONG_AGO, **ours: str) -> Any:
    meta = {"name": name, "uid": uid or f"ns-{name}", "creationTimestamp": since}
    return {"metadata": meta | {"annotations": annotations(**ours)}}


def pod(
    namespace: str, name: str, uid: str | None = None, since: str = LONG_AGO, **ours: str
) -> dict[str, Any]:
    """A pod that runs on NODE."""
    meta = {"name": name, "namespace": namespace, "uid": uid or f"uid-{name}"}
    meta |= {"creationTimestamp": since}
    own = annotations(**ours)
    return {"metadata": meta | {"annotations": own}, "spec": {"nodeName": NODE}, "status": {}}


def mirror(hash: str, namespace: str = "kube-system", name: str = "etcd-node1", **ours: str) -> Any:
    """A static pod's mirror, as the kubelet of NODE makes it."""
    document = pod(namespace, name, **ours)
    document["metadata"]["annotations"] |= {
        "kubernetes.io/config.hash": hash,
        "kubernetes.io/config.mirror": hash,
        "kubernetes.io/config.source": "file",
    }
    owner = {"apiVersion": "v1", "kind": "Node", "name": NODE, "uid": "node-uid"}
    document["metadata"]["ownerReferences"] = [owner | {"controller": True}]
    return document
