"""The images of the test pods, made from files of this machine: nothing is pulled."""

from __future__ import annotations

from pathlib import Path

from deploy import oci

PAUSE = "docker.io/local/pause:1"
_BUSYBOX = Path("/bin/busybox")


def pause(directory: Path) -> Path:
    """busybox that sleeps: what holds a pod's namespaces."""
    layer = _busybox()
    output = directory / "pause.oci.tar"
    # A shell as PID 1 would ignore SIGTERM; this one leaves at once when asked to.
    script = "trap 'exit 0' TERM INT; while :; do sleep 3600 & wait; done"
    oci.write(output, PAUSE, layer, ["/bin/sh", "-c", script])
    return output


def _busybox() -> oci.Layer:
    layer = oci.Layer()
    layer.file("bin/busybox", _BUSYBOX, 0o755)
    for applet in ("sh", "sleep", "cat", "ls", "kill", "mkdir", "ulimit", "true", "echo"):
        layer.link(f"bin/{applet}", "busybox")
    layer.directory("tmp", 0o1777)
    return layer
