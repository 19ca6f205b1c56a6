"""The state files of container runtimes, as each runtime writes them."""

from __future__ import annotations

from typing import Any

UID = "4a7f1c2e-0c5d-4b0e-9a6b-0123456789ab"
ID = "0123456789abcdef" * 4

CONTAINERD: dict[str, Any] = {
    "annotations": {
        "io.kubernetes.cri.sandbox-namespace": "shop",
        "io.kubernetes.cri.sandbox-name": "web-0",
        "io.kubernetes.cri.sandbox-uid": UID,
        "io.kubernetes.cri.container-name": "app",
        "io.kubernetes.cri.image-name": "local/app:1",
    },
    "linux": {"cgroupsPath": f"kubepods-pod{UID.replace('-', '_')}.slice:cri-containerd:{ID}"},
}
CRIO: dict[str, Any] = {
    "annotations": {
        "io.kubernetes.pod.namespace": "shop",
        "io.kubernetes.pod.name": "web-0",
        "io.kubernetes.pod.uid": UID,
        "io.kubernetes.container.name": "app",
        "io.kubernetes.cri-o.ImageName": "local/app:1",
    },
    "linux": {"cgroupsPath": f"kubepods-pod{UID.replace('-', '_')}.slice:crio:{ID}"},
}
DOCKER: dict[str, Any] = {
    "Config": {
        "Image": "local/app:1",
        "Labels": {
            "io.kubernetes.pod.namespace": "shop",
            "io.kubernetes.pod.name": "web-0",
            "io.kubernetes.pod.uid": UID,
            "io.kubernetes.container.name": "app",
        },
    }
}
# The same of a pod's sandbox.
CONTAINERD_SANDBOX: dict[str, Any] = {
    "annotations": {
        "io.kubernetes.cri.container-type": "sandbox",
        "io.kubernetes.cri.sandbox-id": ID,
        "io.kubernetes.cri.sandbox-namespace": "shop",
        "io.kubernetes.cri.sandbox-name": "web-0",
        "io.kubernetes.cri.sandbox-uid": UID,
        "io.kubernetes.cri.podsandbox.image-name": "local/app:1",
    },
    "linux": CONTAINERD["linux"],
}
CRIO_SANDBOX = CRIO | {
    "annotations": CRIO["annotations"]
    | {"io.kubernetes.cri-o.ContainerType": "sandbox", "io.kubernetes.container.name": "POD"}
}
DOCKER_SANDBOX: dict[str, Any] = {
    "Config": {
        "Image": "local/app:1",
        "Labels": DOCKER["Config"]["Labels"]
        | {"io.kubernetes.docker.type": "podsandbox", "io.kubernetes.container.name": "POD"},
    }
}
