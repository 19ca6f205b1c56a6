"""Pods whose containers have ended, as the kubelet reports them."""

from __future__ import annotations

import datetime
from typing import Any

from support.kube import podspecs

CONTAINER = "c" * 64  # of the container `app`
_FIELDS = {
    None: ("containers", "containerStatuses"),
    "init": ("initContainers", "initContainerStatuses"),
    "ephemeral": ("ephemeralContainers", "ephemeralContainerStatuses"),
}


def timestamp(time_s: float) -> str:
    """As the API writes a time: whole seconds."""
    return datetime.datetime.fromtimestamp(time_s, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def pod(
    code: int,
    finished_s: float,
    *,
    kind: str | None = None,
    last: bool = False,
    container_id: str = CONTAINER,
    spec: dict[str, Any] | None = None,
    container: dict[str, Any] | None = None,
    **state: Any,
) -> dict[str, Any]:
    """The pod default/web, whose container `app` ended with `code`; `last`: it runs again.

    `spec`, `container` and `state` are more fields of the pod's spec, its container's, its state's.
    """
    document = podspecs.pod("default", "web", "1234-5678")
    of_spec, of_status = _FIELDS[kind]
    document["spec"] |= {of_spec: [{"name": "app"} | (container or {})]} | (spec or {})
    ended = {"exitCode": code, "reason": "Error", "finishedAt": timestamp(finished_s)}
    ended |= {"containerID": f"containerd://{container_id}"} | state
    status: dict[str, Any] = {"name": "app", "state": {"terminated": ended}}
    if last:
        running = {"state": {"running": {}}, "containerID": "containerd://" + "e" * 64}
        status |= running | {"lastState": {"terminated": ended}}
    document["status"] = {of_status: [status]}
    return document
