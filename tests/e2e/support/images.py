"""The images of the test pods, made from files of this machine: nothing is pulled.

`python -m tests.e2e.images DIR` writes them, for a cluster that is not ours (KUBECONFIG): import
them on its nodes first.
"""

from __future__ import annotations

import sys
from pathlib import Path

from tests.support import crashers
from tools import oci

PAUSE = "docker.io/local/pause:1"
CRASHERS = "docker.io/local/crashers:1"
PYTHON = Path("/usr/bin/python3").resolve()
_BUSYBOX = Path("/bin/busybox")
_APPLETS = ("sh", "sleep", "cat", "ls", "kill", "mkdir", "true", "echo", "nc", "ps")
_NOT_NEEDED = {"__pycache__", "test", "idlelib", "lib2to3", "pydoc_data", "ensurepip", "tkinter"}


def pause(directory: Path) -> Path:
    """busybox that sleeps: what holds a pod's namespaces."""
    output = directory / "pause.oci.tar"
    # A shell as PID 1 would ignore SIGTERM; this one leaves at once when asked to.
    script = "trap 'exit 0' TERM INT; while :; do sleep 3600 & wait; done"
    oci.write(output, PAUSE, _busybox(), ["/bin/sh", "-c", script])
    return output


def programs(directory: Path) -> Path:
    """busybox, the C crashers, and Debian's python3 with the Python crasher: `/crash/…`."""
    output = directory / "crashers.oci.tar"
    layer = _busybox()
    for name in ("crasher", "crasher_threads"):
        layer.file(f"crash/{name}", crashers.compiled(name, directory), 0o755)
    layer.file("crash/crasher.py", crashers.PYTHON)
    layer.file(str(PYTHON), PYTHON, 0o755)
    layer.link("usr/bin/python3", PYTHON.name)
    library = Path("/usr/lib") / PYTHON.name
    extensions = []
    for path in sorted(library.rglob("*")):
        if path.is_file() and not _NOT_NEEDED.intersection(path.relative_to(library).parts):
            layer.file(str(path), path)
            if path.suffix == ".so":
                extensions.append(path)
    for needed in sorted(oci.libraries([PYTHON, *extensions])):
        layer.file(needed, Path(needed), 0o755)
    oci.write(output, CRASHERS, layer, ["/bin/sh"])
    return output


def _busybox() -> oci.Layer:
    layer = oci.Layer()
    layer.file("bin/busybox", _BUSYBOX, 0o755)
    for applet in _APPLETS:
        layer.link(f"bin/{applet}", "busybox")
    layer.directory("tmp", 0o1777)
    return layer


if __name__ == "__main__":
    place = Path(sys.argv[1])
    place.mkdir(parents=True, exist_ok=True)
    print(pause(place), programs(place), sep="\n")
