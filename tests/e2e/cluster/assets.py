"""Where the Kubernetes binaries are, and which release they speak."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

from tests.support.waiting import Failed

VARIABLE = "KUBEBUILDER_ASSETS"
FROM_ASSETS = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet")
FROM_PATH = ("etcd", "kubectl", "containerd", "ctr", "runc", "ip")
_SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Assets:
    """Paths of the binaries by name, and `release`: (1, 20) for Kubernetes 1.20.x."""

    def __init__(self) -> None:
        named = os.environ.get(VARIABLE, "")
        path = os.pathsep.join(filter(None, (named, os.environ.get("PATH", ""), _SYSTEM_PATH)))
        found = {name: shutil.which(name, path=path) for name in FROM_ASSETS + FROM_PATH}
        missing = sorted(name for name, where in found.items() if where is None)
        if missing:
            raise Failed(
                f"not found: {', '.join(missing)}; {VARIABLE}={named!r} must name the directory"
                " of kube-apiserver and the others, Debian has the rest (make debian-e2e)"
            )
        self.path = path
        self._found = {name: Path(where) for name, where in found.items() if where}
        self.release = release(self["kube-apiserver"])
        self.kubelet_release = release(self["kubelet"])

    def __getitem__(self, name: str) -> Path:
        return self._found[name]


def release(binary: Path) -> tuple[int, int]:
    """(major, minor) that `binary --version` prints: `Kubernetes v1.20.2`."""
    text = subprocess.run(
        [binary, "--version"], stdout=subprocess.PIPE, check=True, text=True, timeout=60
    ).stdout
    match = re.search(r"v(\d+)\.(\d+)", text)
    if match is None:
        raise Failed(f"{binary} --version printed {text!r}, which names no release")
    return int(match[1]), int(match[2])
