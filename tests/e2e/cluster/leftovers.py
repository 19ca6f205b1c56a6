"""Undo a cluster, from its slot and directory alone: nothing that ran before is assumed to work.

Order matters: the kubelet first, or it starts again what is taken away; containers before mounts.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from tests.e2e.cluster.daemons import Daemons
from tests.e2e.cluster.node import CGROUPS
from tests.e2e.cluster.slot import Slot

_GONE_S = 15.0


def remove(slot: Slot, directory: Path, daemons: Daemons, keep_directory: bool = False) -> None:
    """Stop, unmount and delete everything of the cluster in `slot`. Safe to call again."""
    daemons.stop("kubelet", "kube-scheduler", "kube-controller-manager")
    _kill_containers(slot)
    _kill_shims(directory)
    daemons.stop_all()
    _unmount(directory)
    _remove_cgroups(slot)
    _remove_network(slot, directory)
    _remove_logs(directory)
    if not keep_directory:
        shutil.rmtree(directory, ignore_errors=True)
    slot.note.unlink(missing_ok=True)


def _cgroups(slot: Slot) -> Iterator[Path]:
    """Every cgroup directory of the slot, deepest first, in every hierarchy."""
    for root in {*CGROUPS.glob(slot.cgroup), *CGROUPS.glob(f"*/{slot.cgroup}")}:
        for place, _, _ in os.walk(root, topdown=False):
            yield Path(place)


def _kill_containers(slot: Slot) -> None:
    """Kill what runs in the slot's cgroups until nothing does."""
    deadline = time.monotonic() + _GONE_S
    while time.monotonic() < deadline:
        pids = set()
        for cgroup in _cgroups(slot):
            with contextlib.suppress(FileNotFoundError):
                pids.update((cgroup / "cgroup.procs").read_text().split())
        if not pids:
            return
        for pid in pids:
            _kill(int(pid))
        time.sleep(0.1)


def _kill_shims(directory: Path) -> None:
    """containerd's shims outlive it; ours are those that were told our socket's address."""
    address = str(directory / "containerd.sock").encode()
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            words = entry.read_bytes().split(b"\0")
            if b"shim" in words[0] and address in words:
                _kill(int(entry.parent.name))
    for note in directory.glob("run/io.containerd.runtime.v2.task/*/*/address"):
        socket = Path(note.read_text().removeprefix("unix://"))
        if socket.parent == Path("/run/containerd/s"):
            socket.unlink(missing_ok=True)


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def _unmount(directory: Path) -> None:
    """Unmount what is mounted below `directory`, the youngest first."""
    prefix = f"{directory}/"
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    for line in reversed(lines):
        place = line.split(" ")[4].encode().decode("unicode_escape")
        if place.startswith(prefix):
            subprocess.run(["umount", "--lazy", place], check=False, capture_output=True)


def _remove_cgroups(slot: Slot) -> None:
    """A cgroup can be removed a moment after its last process died, not before."""
    deadline = time.monotonic() + _GONE_S
    while True:
        left = []
        for cgroup in _cgroups(slot):
            try:
                cgroup.rmdir()
            except OSError:
                left.append(cgroup)
        if not left or time.monotonic() > deadline:
            return
        time.sleep(0.1)


def _remove_network(slot: Slot, directory: Path) -> None:
    subprocess.run(["ip", "link", "delete", slot.bridge], check=False, capture_output=True)
    for result in Path("/var/lib/cni/results").glob("*"):  # each names its network namespace
        with contextlib.suppress(FileNotFoundError):
            if f"{directory}/" in result.read_text(errors="replace"):
                result.unlink()


def _remove_logs(directory: Path) -> None:
    """The kubelet keeps pod logs at a fixed place; a pod's directory there ends with its uid."""
    for pod in directory.glob("kubelet/pods/*"):
        for logs in Path("/var/log/pods").glob(f"*_{pod.name}"):
            shutil.rmtree(logs, ignore_errors=True)
    for link in Path("/var/log/containers").glob("*.log"):
        if link.is_symlink() and not link.exists():
            link.unlink(missing_ok=True)
