"""The program that crashes in the demo, and the pod it pretends to be in.

A pod is, to the handler, a cgroup with the kubelet's names and a runtime's state directory. Both
can be made without Kubernetes, so the demo runs the very code that a node runs.

Tested in: tests/integration/test_demo.py
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from pathlib import Path

from coredumpd.demo import roles

NAMESPACE, POD, CONTAINER = "demo", "sample", "app"
POD_UID = "c0de0000-0000-4000-8000-00000000d0c5"
CONTAINER_ID = "c0de" * 16
CGROUP = f"/kubepods/besteffort/pod{POD_UID}/{CONTAINER_ID}"
CGROUP_ROOTS = ("/sys/fs/cgroup/systemd", "/sys/fs/cgroup/unified", "/sys/fs/cgroup")

_SOURCE = """\
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int divide_the_bill(int total, int guests) { return total / guests; }

int main(void) {
    char go;
    char *heap = malloc(64 << 20);
    memset(heap, 'x', 64 << 20);
    if (read(0, &go, 1) != 1) return 1;  /* wait until the demo has moved us into the pod */
    return divide_the_bill(heap[0], heap[1] - 'x');
}
"""


def build(directory: Path) -> Path | None:
    """Compile the sample with debug information; None where there is no C compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        return None
    source = directory / "sample.c"
    source.write_text(_SOURCE)
    program = directory / "sample"
    roles.run([compiler, "-g", "-O0", "-o", program, source])
    return program


def write_runtime_state(directory: Path) -> None:
    """Write containerd's state of the container: `<id>/config.json` with the CRI annotations."""
    annotations = {
        "io.kubernetes.cri.container-type": "container",
        "io.kubernetes.cri.container-name": CONTAINER,
        "io.kubernetes.cri.image-name": "example.invalid/sample:1",
        "io.kubernetes.cri.sandbox-name": POD,
        "io.kubernetes.cri.sandbox-namespace": NAMESPACE,
        "io.kubernetes.cri.sandbox-uid": POD_UID,
    }
    state = directory / CONTAINER_ID
    state.mkdir(parents=True)
    document = {"annotations": annotations, "linux": {"cgroupsPath": CGROUP}}
    (state / "config.json").write_text(json.dumps(document))


def write_proc(directory: Path, pid: int, program: Path) -> None:
    """Write a /proc in which the living process `pid` is `program`, in the pod, dumping core.

    The handler reads it (`policy.procDir`) where the demo may set neither sysctls nor cgroups.
    """
    process = directory / str(pid)
    thread = process / "task" / str(pid)
    thread.mkdir(parents=True)
    (process / "stat").write_bytes(Path(f"/proc/{pid}/stat").read_bytes())
    (process / "comm").write_text(program.name + "\n")
    status = Path(f"/proc/{pid}/task/{pid}/status").read_text()
    (thread / "status").write_text(status.replace("CoreDumping:\t0", "CoreDumping:\t1"))
    (thread / "cgroup").write_text(f"0::{CGROUP}\n")
    (thread / "exe").symlink_to(program)
    (thread / "maps").write_bytes(b"")


class Cgroup:
    """The pod's cgroup, in each hierarchy that this process may write: `directories`, if any."""

    def __init__(self) -> None:
        self.directories: list[Path] = []

    def enter(self, pid: int) -> None:
        """Move `pid` into the pod, in every hierarchy that permits it."""
        for root in CGROUP_ROOTS:
            if not (Path(root) / "cgroup.procs").exists():
                continue
            leaf = Path(root + CGROUP)
            with contextlib.suppress(OSError):  # not ours to write: there may be none
                leaf.mkdir(parents=True, exist_ok=True)
                (leaf / "cgroup.procs").write_text(str(pid))
                self.directories.append(leaf)

    def remove(self) -> None:
        """Remove the directories, and up to three above each, where they are empty."""
        for leaf in self.directories:
            for directory in (leaf, *list(leaf.parents)[:3]):
                with contextlib.suppress(OSError):  # a kubelet's own directories are not empty
                    os.rmdir(directory)
