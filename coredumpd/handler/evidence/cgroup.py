"""Which pod and container a process belongs to, from the text of `/proc/PID/cgroup`. Pure.

A tenant with a delegated hierarchy can make cgroups BELOW its container's own and name them as it
likes, never above: so the outermost pod in a path is the true one. A person on the host can be
delegated a hierarchy too, always below `user.slice` (systemd's doc CGROUP_DELEGATION): pods found
there are not believed.

The shapes, from kubelet `pkg/kubelet/cm/cgroup_manager_linux.go` and each runtime:

    cgroupfs  [/nesting]/kubepods[/burstable|/besteffort]/pod<uid>/<container>
    systemd   [/nesting]/kubepods.slice/[kubepods-<qos>.slice/]<slice>/<container>
    OCI       <slice>:<runtime>:<id>     (as `linux.cgroupsPath` writes it)

where <slice> is `kubepods-[<qos>-]pod<uid>.slice`, the uid with `_` for `-`; <container> is
`<id>`, `cri-containerd-<id>.scope`, `crio-<id>.scope` or `docker-<id>.scope`; nesting is what kind
and the like put above the kubelet (`/docker/<id>/kubelet`, or `/kubelet.slice`, which then begins
each slice's name with `kubelet-`).
"""

from __future__ import annotations

from coredumpd import errors
from coredumpd.formats import names

_ID_CHARS = frozenset("0123456789abcdef")
_RUNTIMES = ("cri-containerd-", "crio-", "docker-", "")
_QOS = ("burstable-", "besteffort-", "")


class Place:
    """A container's identity as the kernel vouches for it."""

    __slots__ = ("container_id", "pod_uid")

    def __init__(self, pod_uid: str, container_id: str) -> None:
        self.pod_uid = pod_uid
        self.container_id = container_id

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Place)
            and self.pod_uid == other.pod_uid
            and self.container_id == other.container_id
        )

    def __hash__(self) -> int:
        return hash((self.pod_uid, self.container_id))

    def __repr__(self) -> str:
        return f"Place({self.pod_uid!r}, {self.container_id!r})"


def place(text: bytes) -> Place | None:
    """The container of a process, or None for one that is in no pod.

    `text` is all of `/proc/PID/cgroup` (cgroups(7)): `id:controllers:path` lines, one of them
    (`0::path`) on v2, one for each hierarchy on v1. Raises Conflict when hierarchies name different
    containers: then one of them was forged, and neither is believed.
    """
    places = set()
    for line in text.decode("utf-8", "surrogateescape").split("\n"):
        fields = line.split(":", 2)
        if len(fields) == 3:
            here = from_path(fields[2])
            if here is not None:
                places.add(here)
    if len(places) > 1:
        raise errors.Conflict(f"the cgroup hierarchies name different containers: {places!r}")
    return places.pop() if places else None


def shown(text: bytes) -> str:
    """The path for the record: the one that names a container, else the last hierarchy's."""
    lines = text.decode("utf-8", "backslashreplace").rstrip("\n").split("\n")
    paths = [line.split(":", 2)[-1] for line in lines]
    return next((path for path in paths if from_path(path)), paths[-1])


def from_path(path: str) -> Place | None:
    """The outermost container named in one cgroup path (or OCI `cgroupsPath`), else None."""
    parts = path.strip("/").split("/")
    for position, part in enumerate(parts):
        if part == "user.slice":
            return None
        slice_name, _, runtime_and_id = part.partition(":")
        uid = _systemd_uid(slice_name)
        if uid and runtime_and_id:
            return _checked(uid, runtime_and_id.partition(":")[2])
        if not uid and part.startswith("pod") and _below_kubepods(parts[:position]):
            uid = part[len("pod") :]
        if uid:
            name = parts[position + 1] if position + 1 < len(parts) else ""
            return _checked(uid, _container_id(name))
    return None


def _systemd_uid(part: str) -> str:
    """`1-2` of `[prefix-]kubepods-besteffort-pod1_2.slice`; "" for any other name."""
    if not part.endswith(".slice"):
        return ""
    before, found, rest = part.removesuffix(".slice").partition("kubepods-")
    if not found or (before and not before.endswith("-")):
        return ""
    for qos in _QOS:
        if rest.startswith(qos + "pod"):
            return rest[len(qos) + len("pod") :].replace("_", "-")
    return ""


def _below_kubepods(above: list[str]) -> bool:
    if above and above[-1] in ("burstable", "besteffort"):
        above = above[:-1]
    return bool(above) and above[-1] == "kubepods"


def _container_id(name: str) -> str:
    bare = name.removesuffix(".scope")
    for runtime in _RUNTIMES:
        if bare.startswith(runtime):
            return bare[len(runtime) :]
    return ""


def _checked(uid: str, container_id: str) -> Place | None:
    """Only what could be real: both end up in paths and in API requests."""
    if names.is_uid(uid) and len(container_id) == 64 and set(container_id) <= _ID_CHARS:
        return Place(uid, container_id)
    return None
