"""The policy for crashes: the agent writes it to `<hostDir>/policy.json`, the handler obeys it.

`encode` makes the document and `parse` reads it. The agent writes it twice: the handler obeys the
second file, `policy.json.last`, when it cannot believe the first, and captures nothing when it can
believe neither. A field that is missing has the default of `settings.PolicySettings` (that module
is too heavy for the crash path; a test compares the two).

No dataclasses, typing or re at the top: the crash path imports this module.
"""

from __future__ import annotations

import os

from coredumpd import durable, errors
from coredumpd.formats import host_dir as host_dirs
from coredumpd.formats import kernel_log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    # By a namespace's name or a pod's key: the rules that differ from the cluster's.
    Exceptions = Mapping[str, Mapping[str, Any]]
    # By a pod's key: {"namespace": its name, "namespaceUID": its uid or null}.
    Identities = Mapping[str, Mapping[str, Any]]

VERSION = 1
POLICY_BYTES_MAX = 8 * 1024 * 1024
SLOTS_MAX = 1024
# Why no core is kept while `quotaReached`: its `core.truncated.reason`.
QUOTA_REACHED = "the namespace's quota is reached (onQuota: reject)"


class Policy:
    """One snapshot; attribute names are the JSON's, as the settings' are."""

    __slots__ = (
        "capture",
        "captureSlots",
        "captureTimeout",
        "cgroupRoot",
        "honourRlimit",
        "hostCrashes",
        "identities",
        "maxSize",
        "namespaces",
        "niceness",
        "node",
        "pods",
        "procDir",
        "quotaReached",
        "runtimeStateDirs",
        "spoolKeepFree",
        "spoolKeepFreeInodes",
        "spoolMaxEntries",
        "spoolMaxUse",
        "unlisted",
    )

    def __init__(self) -> None:
        self.hostCrashes = "ignore"
        self.capture = "enabled"
        self.maxSize = 8 * 1024**3  # bytes of core, uncompressed
        self.captureTimeout = 300.0  # seconds
        self.runtimeStateDirs = [
            "/run/containerd/io.containerd.runtime.v2.task/k8s.io",
            "/run/containers/storage/overlay-containers",
            "/var/lib/docker/containers",
            "/run/k3s/containerd/io.containerd.runtime.v2.task/k8s.io",  # rke2's, too
            "/var/snap/microk8s/common/run/containerd/io.containerd.runtime.v2.task/k8s.io",
            "/run/k0s/containerd/io.containerd.runtime.v2.task/k8s.io",
            "/var/lib/k0s/run/containerd/io.containerd.runtime.v2.task/k8s.io",  # k0s's, too
        ]
        self.honourRlimit = False
        self.spoolMaxUse = 16 * 1024**3  # bytes
        # None: by the disk's own size, see spool/room.py
        self.spoolKeepFree: int | None = None  # bytes
        self.spoolKeepFreeInodes: int | None = None
        self.spoolMaxEntries = 10_000
        self.captureSlots = 16
        self.cgroupRoot: str | None = None  # not learned: /
        self.niceness = 9
        self.node: str | None = None  # unknown until an agent has written it
        self.procDir = "/proc"
        # The rules that differ, by the namespace's name or the pod's key; a pod's go first.
        self.namespaces: dict[str, dict[str, Any]] = {}
        self.pods: dict[str, dict[str, Any]] = {}
        self.identities: dict[str, dict[str, Any]] = {}  # every pod of this node, by its key
        self.unlisted = "enabled"  # "disabled": there are more rules than this document holds
        self.quotaReached = False  # under onQuota: reject

    def narrow(self, pod_uid: str, namespace: str | None, pod_name: str | None = None) -> None:
        """Make this the policy for one pod; without names: the cgroup alone is known.

        Then the rules of the namespace hold in which the agent saw the pod, if it did.
        """
        key = key_of(self.identities, pod_uid, namespace, pod_name)
        if namespace is None:
            namespace = self.identities.get(pod_uid, {}).get("namespace")
        own = self.pods.get(key) or self.namespaces.get(namespace or "")
        if own is None and self.unlisted == "disabled" and key not in self.identities:
            own = {"capture": "disabled"}
        for name in _TENANT_RULES:
            if own and name in own:
                setattr(self, name, own[name])

    def namespace_uid(self, pod_uid: str, namespace: str, pod_name: str) -> str | None:
        """The uid of the pod's namespace; None for a pod that the agent has not seen."""
        own = self.identities.get(key_of(self.identities, pod_uid, namespace, pod_name), {})
        uid: str | None = own.get("namespaceUID")
        return uid


def static_key(namespace: str, pod_name: str, uid: str) -> str:
    """The key of a static pod: its uid is an annotation that others may write, its names are not.

    A real uid has no slash. So a key is reached only by the names that the runtime recorded.
    """
    return f"{namespace}/{pod_name}/{uid}"


def key_of(
    identities: Identities, pod_uid: str, namespace: str | None, pod_name: str | None
) -> str:
    """The key in `identities` and `pods` of the pod with this uid and these names, if it has one.

    "" for a uid that belongs to a pod of another namespace: such a pod has no rules of its own.
    """
    own = identities.get(pod_uid)
    if own is not None:
        return pod_uid if namespace in (None, own.get("namespace")) else ""
    static = static_key(namespace or "", pod_name or "", pod_uid)
    return static if static in identities else pod_uid


class Tenants:
    """The rules that hold for some namespaces and pods; the cluster's settings hold for the others.

    `encryptTo` has, by namespace, the ConfigMap with the recipients of its dumps; None: Kubernetes
    has not been asked yet. The handler does not read it. `identities` has every pod of this node
    by its key; `unlisted` "disabled": some rules had no room, so that a pod that is not listed, and
    whose namespace is not, may not be captured.
    """

    __slots__ = ("encryptTo", "identities", "namespaces", "pods", "unlisted")

    def __init__(
        self,
        namespaces: Exceptions | None = None,
        pods: Exceptions | None = None,
        encryptTo: Mapping[str, str] | None = None,  # noqa: N803 (the document's name)
        identities: Identities | None = None,
        unlisted: str = "enabled",
    ) -> None:
        self.namespaces = {} if namespaces is None else namespaces
        self.pods = {} if pods is None else pods
        self.encryptTo = encryptTo
        self.identities = {} if identities is None else identities
        self.unlisted = unlisted

    def as_dict(self) -> dict[str, Any]:
        """The document's fields."""
        return {name: getattr(self, name) for name in _TENANTS}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Tenants) and self.as_dict() == other.as_dict()

    __hash__ = None  # type: ignore[assignment]  # what it holds can change

    def __repr__(self) -> str:
        return f"Tenants({self.as_dict()})"


def encode(settings: dict[str, Any], node: str, tenants: Tenants) -> bytes:
    """The document for the node `node`, which `parse` and `parse_tenants` read.

    `settings` has the fields of `settings.PolicySettings` by name. A document that `load` would
    refuse for its length has no rules of tenants instead, and captures nothing of pods: a rule
    that is left out must not be more open. Raises BadRecord when even that is too long.
    """
    import json

    document = {"version": VERSION, "node": node} | settings | tenants.as_dict()
    data = json.dumps(document, indent=1).encode() + b"\n"
    if len(data) > POLICY_BYTES_MAX:
        closed = {"capture": "disabled", "namespaces": {}, "pods": {}}
        data = json.dumps(document | closed, indent=1).encode() + b"\n"
    if len(data) > POLICY_BYTES_MAX:
        raise errors.BadRecord(f"policy: {len(data)} bytes; at most {POLICY_BYTES_MAX}")
    return data


def parse_tenants(data: bytes) -> Tenants:
    """The tenants' rules in a document that an agent wrote. Raises BadRecord when it is none."""
    import json

    try:
        document = json.loads(data)
        encrypt_to = document.get("encryptTo")
        return Tenants(
            dict(document.get("namespaces", {})),
            dict(document.get("pods", {})),
            None if encrypt_to is None else {str(ns): str(to) for ns, to in encrypt_to.items()},
            {str(key): dict(own) for key, own in document.get("identities", {}).items()},
            "disabled" if document.get("unlisted") == "disabled" else "enabled",
        )
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise errors.BadRecord(f"policy: {error}") from error


def load_in_force(host_dir: int) -> Policy:
    """The policy to obey, below the open directory `host_dir`: policy.json, else the last good one.

    Raises what `load` does when neither can be believed.
    """
    try:
        return load(host_dirs.POLICY, host_dir)
    except errors.CoredumpdError as error:
        try:
            policy = load(host_dirs.LAST_POLICY, host_dir)
        except errors.CoredumpdError:
            raise error from None
        kernel_log.write(kernel_log.WARNING, f"going on with the last good policy: {error}")
        return policy


def load(path: str, directory: int | None = None) -> Policy:
    """The snapshot at `path`, relative to the descriptor `directory` if given.

    Raises NotFound when there is none, Forbidden when somebody else could have written it,
    BadRecord when it is not a policy.
    """
    try:
        fd = durable.open_regular(path, directory)
    except FileNotFoundError as error:
        raise errors.NotFound(f"policy {path}: there is none") from error
    except durable.NotRegularError as error:
        raise errors.Forbidden(f"policy {path}: must be a regular file with one name") from error
    except OSError as error:
        raise errors.Forbidden(f"policy {path}: {error.strerror}") from error
    with open(fd, "rb") as file:
        if not durable.is_ours(fd):
            rule = f"must belong to uid {os.geteuid()} and be writable by nobody else"
            raise errors.Forbidden(f"policy {path}: {rule}")
        data = file.read(POLICY_BYTES_MAX + 1)
    if len(data) > POLICY_BYTES_MAX:
        raise errors.BadRecord(f"policy {path}: more than {POLICY_BYTES_MAX} bytes")
    return parse(data)


def parse(data: bytes) -> Policy:
    """A policy from its JSON. Unknown fields belong to newer agents. Raises BadRecord."""
    import json  # costs `re`; kept off the way to the first byte

    try:
        raw = json.loads(data.decode())
    except (ValueError, RecursionError) as error:
        raise errors.BadRecord(f"policy: not JSON: {error}") from error
    if not isinstance(raw, dict) or raw.get("version") != VERSION:
        raise errors.BadRecord(f"policy: must be an object of version {VERSION}")
    policy = Policy()
    causes = []
    for name, (accepts, rule) in _RULES.items():
        if name in raw:
            if accepts(raw[name]):
                setattr(policy, name, raw[name])
            else:
                causes.append(errors.Cause(name, raw[name], rule))
    if causes:
        raise errors.BadRecord(f"policy: {'; '.join(map(str, causes))}", tuple(causes))
    return policy


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 2**63


def _is_path(value: Any) -> bool:
    return isinstance(value, str) and value.startswith("/") and "\0" not in value


def _is_size(value: Any) -> bool:
    return _is_number(value) and isinstance(value, int)


def _is_size_or_none(value: Any) -> bool:
    return value is None or _is_size(value)


_TENANT_RULES: dict[str, Any] = {
    "capture": lambda value: value in ("enabled", "disabled"),
    "maxSize": _is_size,
    "quotaReached": lambda value: isinstance(value, bool),
}


def _is_tenants(value: Any) -> bool:
    """Rules by name; of a newer agent's rules, those we know."""
    return isinstance(value, dict) and all(
        isinstance(own, dict)
        and all(accepts(own[name]) for name, accepts in _TENANT_RULES.items() if name in own)
        for own in value.values()
    )


def _is_identities(value: Any) -> bool:
    return isinstance(value, dict) and all(
        isinstance(own, dict)
        and isinstance(own.get("namespace"), str)
        and isinstance(own.get("namespaceUID"), str | None)
        for own in value.values()
    )


_TENANTS = ("namespaces", "pods", "encryptTo", "identities", "unlisted")
_RULES: dict[str, tuple[Any, str]] = {
    "capture": (_TENANT_RULES["capture"], "must be enabled or disabled"),
    "namespaces": (_is_tenants, "must be capture, maxSize and quotaReached by name"),
    "pods": (_is_tenants, "must be capture, maxSize and quotaReached by a pod's key"),
    "identities": (_is_identities, "must be namespace and namespaceUID by a pod's key"),
    "unlisted": (_TENANT_RULES["capture"], "must be enabled or disabled"),
    "hostCrashes": (lambda value: value in ("ignore", "store"), "must be ignore or store"),
    "maxSize": (_is_size, "must be bytes"),
    "captureTimeout": (_is_number, "must be seconds"),
    "honourRlimit": (lambda value: isinstance(value, bool), "must be true or false"),
    "spoolMaxUse": (_is_size, "must be bytes"),
    "spoolKeepFree": (_is_size_or_none, "must be bytes"),
    "spoolKeepFreeInodes": (_is_size_or_none, "must be a number of inodes"),
    "spoolMaxEntries": (lambda value: _is_size(value) and value > 0, "must be a number above 0"),
    "captureSlots": (
        lambda value: _is_size(value) and 0 < value <= SLOTS_MAX,
        f"must be 1 to {SLOTS_MAX}",
    ),
    "cgroupRoot": (lambda value: value is None or _is_path(value), "must be an absolute path"),
    "niceness": (lambda value: isinstance(value, int) and 0 <= value <= 19, "must be 0 to 19"),
    "runtimeStateDirs": (
        lambda value: isinstance(value, list) and all(map(_is_path, value)),
        "must be a list of absolute paths",
    ),
    "node": (lambda value: value is None or isinstance(value, str), "must be a name"),
    "procDir": (_is_path, "must be an absolute path"),
}
