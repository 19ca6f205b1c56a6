"""Pods that crash on purpose."""

from __future__ import annotations

import json

from tests.e2e.support.images import CRASHERS
from tests.e2e.support.kubectl import Kubectl
from tests.support.waiting import until

_IMAGE = CRASHERS.removeprefix("docker.io/")
_STARTED_S = 60.0


def manifest(name: str, containers: dict[str, list[str]], **labels: str) -> str:
    """A pod of containers by name, each with its command line; none is ever restarted."""
    document = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": labels},
        "spec": {
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 1,
            "containers": [
                {
                    "name": container,
                    "image": _IMAGE,
                    "imagePullPolicy": "IfNotPresent",
                    "command": command,
                }
                for container, command in containers.items()
            ],
        },
    }
    return json.dumps(document)


def crash(kubectl: Kubectl, namespace: str, name: str, containers: dict[str, list[str]]) -> str:
    """Create such a pod and wait until every container has started; its uid."""
    kubectl("create", "-n", namespace, "-f", "-", input=manifest(name, containers))

    def started() -> str:
        pod = kubectl.json("get", "pod", name, "-n", namespace)
        states = [status["state"] for status in pod["status"].get("containerStatuses", ())]
        begun = states and all("running" in state or "terminated" in state for state in states)
        return pod["metadata"]["uid"] if begun else ""

    return until(f"pod {namespace}/{name} to start", started, _STARTED_S)


def delete(kubectl: Kubectl, namespace: str, name: str) -> None:
    kubectl("delete", "pod", name, "-n", namespace, "--wait=true", "--ignore-not-found")
