"""A container's names, in the state file that its runtime keeps. Pure.

A file is believed if it agrees with the kernel: it names the pod of the process's cgroup. Where the
kubelet makes no cgroups for pods (`--cgroups-per-qos=false`), it must name the very cgroup that the
process is in. `runtime` finds these files, and lists the runtimes.

The file of a pod's sandbox names no container (containerd), or one called POD (CRI-O, cri-dockerd).
"""

from __future__ import annotations

from coredumpd import errors
from coredumpd.formats import cgroup, names
from coredumpd.handler.evidence import claims

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# Keys in order of preference: containerd's, CRI-O's (shared with the kubelet's labels on docker).
_NAMESPACE = ("io.kubernetes.cri.sandbox-namespace", "io.kubernetes.pod.namespace")
_POD = ("io.kubernetes.cri.sandbox-name", "io.kubernetes.pod.name")
_UID = ("io.kubernetes.cri.sandbox-uid", "io.kubernetes.pod.uid")
_CONTAINER = ("io.kubernetes.cri.container-name", "io.kubernetes.container.name")
_TYPE = (
    "io.kubernetes.cri.container-type",
    "io.kubernetes.cri-o.ContainerType",
    "io.kubernetes.docker.type",
)
_SANDBOX_TYPES = ("sandbox", "podsandbox")
_IMAGE = (
    "io.kubernetes.cri.image-name",
    "io.kubernetes.cri.podsandbox.image-name",
    "io.kubernetes.cri-o.ImageName",
    "io.kubernetes.cri-o.Image",
)


class Container:
    """Names as Kubernetes accepts them; a sandbox's container is SANDBOX. image may be None."""

    __slots__ = ("container", "image", "namespace", "pod_name")

    def __init__(self, namespace: str, pod_name: str, container: str, image: str | None) -> None:
        self.namespace = namespace
        self.pod_name = pod_name
        self.container = container
        self.image = image


def parse(data: bytes, place: cgroup.Place) -> Container:
    """The container that a state file describes. Raises BadRecord as `find` does."""
    document, labels = _parts(data)
    uid, path = _first(labels, _UID), _cgroups_path(document)
    claims = [] if uid is None else [("pod uid", uid, uid == place.pod_uid)]
    if path is not None:
        claims.append(("linux.cgroupsPath", path, cgroup.from_claim(path) == place))
    if not claims:
        raise errors.BadRecord("runtime state: names neither a pod uid nor a cgroup")
    for field, value, agrees in claims:
        if not agrees:
            raise _bad(field, value, f"the kernel says {place!r}")
    return _container(document, labels)


def parse_outside(
    data: bytes, id: str, path: str, root: str
) -> tuple[cgroup.Place, Container] | None:
    """The place and container that a state file describes, as `find_outside` has them."""
    document, labels = _parts(data)
    uid, claim = _first(labels, _UID), _cgroups_path(document)
    if uid is None:
        return None
    container = _container(document, labels)
    if claim is None:
        agrees = claims.is_docker_default(path)
    elif claims.is_kata_overhead(path):
        place = cgroup.from_claim(claim)
        agrees = container.container == names.SANDBOX and place == cgroup.Place(uid, id)
    else:
        agrees = claims.is_claimed(path, claim, root)
    if not agrees:
        raise _bad("linux.cgroupsPath", claim, f"the kernel says {path}; set policy.cgroupRoot")
    if not names.is_uid(uid):
        raise _bad("pod uid", uid, "is not a valid uid")
    return cgroup.Place(uid, id), container


def _parts(data: bytes) -> tuple[Any, dict[str, Any]]:
    """The document in a state file, and its labels."""
    import json  # costs `re`; kept off the way to the first byte

    try:
        document = json.loads(data.decode())
    except (ValueError, RecursionError) as error:
        raise errors.BadRecord(f"runtime state: not JSON: {error}") from error
    return document, _dict(document, "annotations") or _dict(_dict(document, "Config"), "Labels")


def _cgroups_path(document: Any) -> str | None:
    return _first(_dict(document, "linux"), ("cgroupsPath",))


def _container(document: Any, labels: dict[str, Any]) -> Container:
    namespace, pod, name = (_first(labels, keys) or "" for keys in (_NAMESPACE, _POD, _CONTAINER))
    if _first(labels, _TYPE) in _SANDBOX_TYPES:
        name = names.SANDBOX
    checks = (
        ("namespace", namespace, names.is_dns_label),
        ("pod name", pod, names.is_dns_subdomain),
        ("container name", name, names.is_container),
    )
    for field, value, good in checks:
        if not good(value):
            raise _bad(field, value, "is not a valid Kubernetes name")
    return Container(namespace, pod, name, _image(document, labels))


def _bad(field: str, value: str | None, rule: str) -> errors.BadRecord:
    cause = errors.Cause(field, value, rule)
    return errors.BadRecord(f"runtime state: {cause}", (cause,))


def _image(document: Any, labels: dict[str, Any]) -> str | None:
    image = _first(labels, _IMAGE) or _first(_dict(document, "Config"), ("Image",))
    return image if image and image.isprintable() and len(image) <= 1024 else None


def _dict(value: Any, key: str) -> dict[str, Any]:
    inner = value.get(key) if isinstance(value, dict) else None
    return inner if isinstance(inner, dict) else {}


def _first(labels: dict[str, Any], keys: tuple[str, ...]) -> str | None:
    for key in keys:
        value = labels.get(key)
        if isinstance(value, str) and value:
            return value
    return None
