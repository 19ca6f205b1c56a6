"""Facts of a pod that more than one role needs."""

from __future__ import annotations

from typing import Any


def uids(pod: dict[str, Any]) -> set[str]:
    """The uids a pod goes by: the API's, and for a static pod the one the kubelet runs it under.

    A mirror pod has a uid of its own; cgroups and the runtime know the hash of its file (kubelet
    `pkg/kubelet/types/pod_update.go`, ConfigHashAnnotationKey).
    """
    known = {pod["metadata"]["uid"]}
    annotations = pod["metadata"].get("annotations") or {}
    if "kubernetes.io/config.mirror" in annotations:
        known.add(annotations.get("kubernetes.io/config.hash", ""))
    return known
