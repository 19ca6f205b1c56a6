"""Names of a container by the runtime's own state file. No RPC, one small file.

    containerd   <dir>/<id>/config.json           the OCI bundle; annotations io.kubernetes.cri.*
    CRI-O        <dir>/<id>/userdata/config.json  the OCI bundle; annotations io.kubernetes.*
    cri-dockerd  <dir>/<id>/config.v2.json        Config.Labels io.kubernetes.*

The directories are root's and configured by the administrator. Still, a file is believed only if
root owns it and it names the pod that the kernel's cgroup names.
"""

from __future__ import annotations

import os
import stat

from coredumpd import durable, errors
from coredumpd.formats import cgroup, names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

STATE_BYTES_MAX = 4 * 1024 * 1024
_FILES = ("config.json", "userdata/config.json", "config.v2.json")

# Keys in order of preference: containerd's, CRI-O's (shared with the kubelet's labels on docker).
_NAMESPACE = ("io.kubernetes.cri.sandbox-namespace", "io.kubernetes.pod.namespace")
_POD = ("io.kubernetes.cri.sandbox-name", "io.kubernetes.pod.name")
_UID = ("io.kubernetes.cri.sandbox-uid", "io.kubernetes.pod.uid")
_CONTAINER = ("io.kubernetes.cri.container-name", "io.kubernetes.container.name")
_IMAGE = (
    "io.kubernetes.cri.image-name",
    "io.kubernetes.cri-o.ImageName",
    "io.kubernetes.cri-o.Image",
)


class Container:
    """A container's names. Each is a valid Kubernetes name; image may be None."""

    __slots__ = ("container", "image", "namespace", "pod_name")

    def __init__(self, namespace: str, pod_name: str, container: str, image: str | None) -> None:
        self.namespace = namespace
        self.pod_name = pod_name
        self.container = container
        self.image = image


def find(directories: Iterable[str], place: cgroup.Place) -> Container | None:
    """Names of the container at `place`, or None if no runtime here has a state file for it.

    Raises BadRecord for a state file that is not one or contradicts the cgroup, Forbidden for one
    that somebody else than root could have written.
    """
    for directory in directories:
        for name in _FILES:
            data = _read(f"{directory}/{place.container_id}", name)
            if data is not None:
                return parse(data, place)
    return None


def parse(data: bytes, place: cgroup.Place) -> Container:
    """The container that a state file describes. Raises BadRecord as `find` does."""
    import json  # costs `re`; kept off the way to the first byte

    try:
        document = json.loads(data.decode())
    except (ValueError, RecursionError) as error:
        raise errors.BadRecord(f"runtime state: not JSON: {error}") from error
    labels = _dict(document, "annotations") or _dict(_dict(document, "Config"), "Labels")
    _check_place(document, labels, place)
    namespace, pod, name = (_first(labels, keys) or "" for keys in (_NAMESPACE, _POD, _CONTAINER))
    checks = (
        ("namespace", namespace, names.is_dns_label),
        ("pod name", pod, names.is_dns_subdomain),
        ("container name", name, names.is_dns_label),
    )
    for field, value, good in checks:
        if not good(value):
            cause = errors.Cause(field, value, "is not a valid Kubernetes name")
            raise errors.BadRecord(f"runtime state: {cause}", (cause,))
    return Container(namespace, pod, name, _image(document, labels))


def _check_place(document: Any, labels: dict[str, Any], place: cgroup.Place) -> None:
    """The uid it names and the cgroup it asked for must be those the kernel reports."""
    uid = _first(labels, _UID)
    path = _first(_dict(document, "linux"), ("cgroupsPath",))
    claims = [] if uid is None else [("pod uid", uid, uid == place.pod_uid)]
    if path is not None:
        claims.append(("linux.cgroupsPath", path, cgroup.from_claim(path) == place))
    if not claims:
        raise errors.BadRecord("runtime state: names neither a pod uid nor a cgroup")
    for field, value, agrees in claims:
        if not agrees:
            cause = errors.Cause(field, value, f"the kernel says {place!r}")
            raise errors.BadRecord(f"runtime state: {cause}", (cause,))


def _image(document: Any, labels: dict[str, Any]) -> str | None:
    image = _first(labels, _IMAGE) or _first(_dict(document, "Config"), ("Image",))
    return image if image and image.isprintable() and len(image) <= 1024 else None


def _read(directory: str, name: str) -> bytes | None:
    """The file, or None where there is none. The id in `directory` is 64 hex digits."""
    try:
        fd = os.open(
            f"{directory}/{name}", os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        )
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise errors.Forbidden(f"runtime state {directory}/{name}: {error.strerror}") from error
    try:
        attributes = os.fstat(fd)
        if not stat.S_ISREG(attributes.st_mode) or not durable.is_ours(fd):
            raise errors.Forbidden(
                f"runtime state {directory}/{name}: must be a regular file that only root can write"
            )
        if attributes.st_size > STATE_BYTES_MAX:
            raise errors.BadRecord(
                f"runtime state {directory}/{name}: over {STATE_BYTES_MAX} bytes"
            )
        with open(fd, "rb", closefd=False) as file:
            return file.read(STATE_BYTES_MAX)
    finally:
        os.close(fd)


def _dict(value: Any, key: str) -> dict[str, Any]:
    inner = value.get(key) if isinstance(value, dict) else None
    return inner if isinstance(inner, dict) else {}


def _first(labels: dict[str, Any], keys: tuple[str, ...]) -> str | None:
    for key in keys:
        value = labels.get(key)
        if isinstance(value, str) and value:
            return value
    return None
