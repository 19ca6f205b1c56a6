"""Which pod and container a process belongs to, from the text of `/proc/PID/cgroup`. Pure.

The kubelet and container runtimes write these paths; handler and agent read them.

A tenant with a delegated hierarchy can make cgroups BELOW its container's own and name them as it
likes, never above: so the outermost pod in a path is the true one. Other software on the node nests
cgroups as well, and names them as it likes: so a pod is one only directly below the kubelet's root
cgroup, `policy.cgroupRoot`, which the agent learns from its own cgroup. A person on the host can be
delegated a hierarchy too, always below `user.slice` (systemd's doc CGROUP_DELEGATION).

The shapes, from kubelet `pkg/kubelet/cm/cgroup_manager_linux.go` and each runtime:

    cgroupfs  [root]/kubepods[/burstable|/besteffort]/pod<uid>/<container>
    systemd   [root]/kubepods.slice/[kubepods-<qos>.slice/]<slice>/<container>
    OCI       <slice>:<runtime>:<id>     (as `linux.cgroupsPath` writes it)

    sandbox   …/pod<uid> or …/<slice> itself (gVisor's sentry; runsc's setPodCgroup),
              …/kata_<container> (kata's VMM; its RenameCgroupPath)
              /kata/… or /kata_overhead/… with all of the above (the VMM of kata's runtime-rs)

where <slice> is `kubepods-[<qos>-]pod<uid>.slice`, the uid with `_` for `-`; <container> is
`<id>`, `cri-containerd-<id>.scope`, `crio-<id>.scope` or `docker-<id>.scope`; root is the kubelet's
`--cgroup-root` and what kind and the like put above it (`/docker/<id>/kubelet`, or
`/kubelet.slice`, which then begins each slice's name with `kubelet-`).
"""

from __future__ import annotations

from coredumpd import errors
from coredumpd.formats import names

_ID_CHARS = frozenset("0123456789abcdef")
_RUNTIMES = ("cri-containerd-", "crio-", "docker-", "")
_KATA = "kata_"
_KATA_TOPS = ("kata", "kata_overhead")  # root alone makes cgroups at the top
_QOS = ("burstable-", "besteffort-", "")
_CLASSES = ("burstable", "besteffort")
_DEPTH_MAX = 2  # below the root: kubepods, the class of service, the pod


class Place:
    """A container's identity as the kernel vouches for it.

    `container_id` None: in the pod's cgroup, but in no container's. Only root puts processes there:
    the pod's sandbox, such as gVisor's sentry.
    """

    __slots__ = ("container_id", "pod_uid")

    def __init__(self, pod_uid: str, container_id: str | None) -> None:
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


def place(text: bytes, root: str) -> Place | None:
    """The place of a process, or None for one that is in no pod of the kubelet at `root`.

    `text` is all of `/proc/PID/cgroup` (cgroups(7)): `id:controllers:path` lines, one of them
    (`0::path`) on v2, one for each hierarchy on v1. Raises Conflict when hierarchies name different
    containers: then one of them was forged, and neither is believed. One that names only the pod of
    the others' container contradicts nothing: it has a controller that the runtime does not use.
    """
    places = {here for path in _paths(text) if (here := from_path(path, root)) is not None}
    containers = {here for here in places if here.container_id is not None}
    if len(containers) > 1 or len({here.pod_uid for here in places}) > 1:
        raise errors.Conflict(f"the cgroup hierarchies name different containers: {places!r}")
    return (containers or places).pop() if places else None


def outermost(text: bytes) -> tuple[str, str] | None:
    """Id and cgroup path of the outermost container of a process, whoever made it, wherever it is.

    `text` as for `place`. None for a process in no container or in a person's, and when hierarchies
    differ. This is no evidence: anything may be called so.
    """
    containers = {here for path in _paths(text) if (here := _outermost(path)) is not None}
    return containers.pop() if len(containers) == 1 else None


def shown(text: bytes, root: str) -> str:
    """The path for the record: the one that names a container, else the last hierarchy's."""
    lines = text.decode("utf-8", "backslashreplace").rstrip("\n").split("\n")
    paths = [line.split(":", 2)[-1] for line in lines]
    return next((path for path in paths if from_path(path, root)), paths[-1])


def from_path(path: str, root: str) -> Place | None:
    """The place that one cgroup path names, if the kubelet whose root is `root` made it."""
    parts = _parts(path)
    if parts and parts[0] in _KATA_TOPS:
        parts = parts[1:]
    above = _parts(root)
    if parts[: len(above)] != above:
        return None
    rest = parts[len(above) :]
    top = {"kubepods", "kubepods.slice"}
    if above and above[-1].endswith(".slice"):
        top.add(f"{above[-1].removesuffix('.slice')}-kubepods.slice")
    pod = _pod(rest)
    if pod is None or pod > _DEPTH_MAX or (pod > 0 and rest[0] not in top):
        return None
    if pod == _DEPTH_MAX and rest[1].removesuffix(".slice").rpartition("-")[2] not in _CLASSES:
        return None
    return _container(rest, pod)


def from_claim(path: str) -> Place | None:
    """The outermost container named in an OCI `cgroupsPath`, wherever; a claim, not evidence."""
    parts = _parts(path)
    pod = _pod(parts)
    place = None if pod is None else _container(parts, pod)
    return place if place is not None and place.container_id is not None else None


def root_of(path: str) -> str | None:
    """The kubelet's root, from the cgroup path of one of its containers; None for another path."""
    parts = _parts(path)
    if from_claim(path) is None:
        return None
    for position, part in enumerate(parts):
        # Where containerd has no SystemdCgroup, it makes one directory of the whole claim.
        is_claim = ":" in part and _systemd_uid(part.partition(":")[0])
        if part == "kubepods" or part.endswith("kubepods.slice") or is_claim:
            root = "/" + "/".join(parts[:position])
            return root if from_path(path, root) else None
    return None


def _paths(text: bytes) -> list[str]:
    """The paths in a /proc/PID/cgroup."""
    lines = text.decode("utf-8", "surrogateescape").split("\n")
    return [fields[2] for line in lines if len(fields := line.split(":", 2)) == 3]


def _parts(path: str) -> list[str]:
    return [part for part in path.strip("/").split("/") if part]


def _pod(parts: list[str]) -> int | None:
    """The position of the outermost pod's name; None when there is none, or a person's."""
    for position, part in enumerate(parts):
        if part == "user.slice":
            return None
        if _systemd_uid(part.partition(":")[0]):
            return position
        if part.startswith("pod") and _below_kubepods(parts[:position]):
            return position
    return None


def _container(parts: list[str], pod: int) -> Place | None:
    """The place in the pod at position `pod`; None when its uid is none."""
    slice_name, _, runtime_and_id = parts[pod].partition(":")
    uid = _systemd_uid(slice_name) or parts[pod][len("pod") :]
    if not names.is_uid(uid):
        return None
    if runtime_and_id:
        id = runtime_and_id.partition(":")[2]
        return Place(uid, id if _is_container_id(id) else None)
    return Place(uid, _container_id(parts[pod + 1]) if pod + 1 < len(parts) else None)


def _outermost(path: str) -> tuple[str, str] | None:
    parts = _parts(path)
    for position, part in enumerate(parts):
        if part == "user.slice":
            return None
        if id := _container_id(part):
            return id, "/" + "/".join(parts[: position + 1])
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
    if above and above[-1] in _CLASSES:
        above = above[:-1]
    return bool(above) and above[-1] == "kubepods"


def _container_id(name: str) -> str | None:
    """The id in the name of a container's cgroup; None for another name."""
    bare = name.removesuffix(".scope").removeprefix(_KATA)
    for runtime in _RUNTIMES:
        if bare.startswith(runtime):
            id = bare[len(runtime) :]
            return id if _is_container_id(id) else None
    return None


def _is_container_id(text: str) -> bool:
    """Only what could be real: it ends up in paths and in API requests."""
    return len(text) == 64 and set(text) <= _ID_CHARS
