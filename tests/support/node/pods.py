"""A pod as the handler sees one: a real cgroup, and the runtime's state file in a directory."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# Hybrid machines have the first two, a pure v2 machine the last.
CGROUP = "/kubepods/besteffort/pod{uid}/{id}"
_ROOTS = ("/sys/fs/cgroup/systemd", "/sys/fs/cgroup/unified", "/sys/fs/cgroup")


class Pod:
    """One container of a pod that no kubelet knows."""

    def __init__(self, state_dir: Path, cgroup: str = CGROUP, uid: str = "", **names: str) -> None:
        """`cgroup` with `{uid}` and `{id}`; `names` override namespace, name, container, image."""
        self.uid = uid or str(uuid.uuid4())
        self.container_id = os.urandom(32).hex()
        self.state_dir = state_dir
        self.names = {
            "namespace": "shop",
            "name": "web-0",
            "container": "app",
            "image": "local/app:1",
        } | names
        self.path = cgroup.format(uid=self.uid, id=self.container_id)

    @property
    def hierarchies(self) -> list[Path]:
        """This container's cgroup directories, one a hierarchy."""
        roots = [Path(root) for root in _ROOTS if (Path(root) / "cgroup.procs").exists()]
        return [root / self.path.lstrip("/") for root in roots]

    def enter(self, below: str = "") -> None:
        """Move the calling process in; for `preexec_fn`. `below`: a cgroup it made for itself."""
        for directory in self.hierarchies:
            (directory / below / "cgroup.procs").write_text(str(os.getpid()))

    def start(self, command: list[Any], **options: Any) -> subprocess.Popen[bytes]:
        """Start `command` as a process of this container."""
        return subprocess.Popen(command, preexec_fn=self.enter, **options)

    def containerd_state(self, **changed: Any) -> dict[str, Any]:
        """config.json as containerd writes it; `changed` annotations."""
        return {
            "ociVersion": "1.0.2",
            "annotations": {
                "io.kubernetes.cri.container-type": "container",
                "io.kubernetes.cri.sandbox-namespace": self.names["namespace"],
                "io.kubernetes.cri.sandbox-name": self.names["name"],
                "io.kubernetes.cri.sandbox-uid": self.uid,
                "io.kubernetes.cri.container-name": self.names["container"],
                "io.kubernetes.cri.image-name": self.names["image"],
            }
            | changed,
            "linux": {"cgroupsPath": self.path},
        }

    def write_state(self, document: dict[str, Any] | None = None) -> Path:
        """Write the runtime's state file; returns it."""
        path = self.state_dir / self.container_id / "config.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(self.containerd_state() if document is None else document))
        return path


@contextlib.contextmanager
def running(state_dir: Path, cgroup: str = CGROUP, uid: str = "", **names: str) -> Iterator[Pod]:
    """A pod whose cgroups exist while the block runs; its processes must be gone by then."""
    pod = Pod(state_dir, cgroup, uid, **names)
    for directory in pod.hierarchies:
        directory.mkdir(parents=True)
    pod.write_state()
    try:
        yield pod
    finally:
        for directory in pod.hierarchies:
            _remove(directory)


def _remove(directory: Path) -> None:
    """Remove a cgroup, what was made below it, and the parents that are ours and empty."""
    for below, names, _ in os.walk(directory, topdown=False):
        for name in names:
            os.rmdir(os.path.join(below, name))
    while str(directory) not in _ROOTS:
        with contextlib.suppress(OSError):  # another test's pod is still below it
            directory.rmdir()
        directory = directory.parent
