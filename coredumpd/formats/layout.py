"""Where a dump lies below a store's root, and what its files are called.

Stores, the spool, the archive and downloads share these names. A path and its `DumpKey` are two
spellings of one thing: `str(key)` gives the path, `DumpKey.parse(path)` the key.

No dataclasses, typing or re: the crash path imports this module.
"""

from __future__ import annotations

from coredumpd import errors
from coredumpd.formats import names

# The files of a dump. In a store and in the spool:
CORE = "core.gz"
INDEX = "core.index"
META = "meta.json"
# In an archive and where it is unpacked: the core itself, or the age file of a sealed core.
PLAIN_CORE = "core"
SEALED_CORE = "core.gz.age"
SEALED_TAR = "core.tar.gz.age"  # of a core that had an index: the age file holds a .tar.gz

# Suffixes of names that are not a dump: being written, being removed, set aside for a person.
PART = ".part"
GONE = ".gone"
BAD = ".bad"
# A note about a pod lies beside the pod's containers; no container has such a name.
NOTE = ".note-"
NOTE_BYTES_MAX = 64 * 1024

_RULE = "is not a valid Kubernetes name or uid"


class Prefix:
    """The dumps of a namespace, of a pod in it, or of one container; of all, when empty.

    Construction validates: the names of a prefix are safe to join to a path. Raises Invalid naming
    each part that is not a valid name, BadRequest when a part is given without the one before it.
    """

    __slots__ = ("container", "namespace", "pod_uid")

    def __init__(
        self,
        namespace: str | None = None,
        pod_uid: str | None = None,
        container: str | None = None,
    ) -> None:
        parts = (namespace, pod_uid, container)
        if None in parts[: len(parts) - parts.count(None)]:
            raise errors.BadRequest("a prefix of a key names the namespace, then podUID, container")
        _check("not a prefix of dumps' keys", _problems(namespace, pod_uid, container))
        self.namespace = namespace
        self.pod_uid = pod_uid
        self.container = container

    @property
    def parts(self) -> tuple[str, ...]:
        """The names that are given, none to three."""
        all_parts = (self.namespace, self.pod_uid, self.container)
        return tuple(part for part in all_parts if part is not None)

    def covers(self, key: DumpKey) -> bool:
        """Is the dump `key` below this prefix?"""
        parts = self.parts
        return (key.namespace, key.pod_uid, key.container)[: len(parts)] == parts

    def __str__(self) -> str:
        return "/".join(self.parts)

    def __repr__(self) -> str:
        return f"Prefix({self})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Prefix) and self.parts == other.parts

    def __hash__(self) -> int:
        return hash(self.parts)


class DumpKey:
    """Where a dump lives, below any store's root: `<namespace>/<podUID>/<container>/<id>`.

    Host crashes: `_host/<node>/<comm>/<id>`. Construction validates: a key in hand is safe to join
    to a path. Raises Invalid naming the part that is not.
    """

    __slots__ = ("container", "id", "namespace", "pod_uid")

    def __init__(self, namespace: str, pod_uid: str, container: str, id: str) -> None:
        causes = _problems(namespace, pod_uid, container)
        if not (names.is_dns_subdomain(id) and len(id) <= names.ID_BYTES_MAX):
            causes.append(errors.Cause("id", id, _RULE))
        _check("not a dump's key", causes)
        self.namespace = namespace
        self.pod_uid = pod_uid
        self.container = container
        self.id = id

    @classmethod
    def parse(cls, path: str) -> DumpKey:
        """The key whose path, `str(key)`, is `path`. Raises Invalid."""
        parts = path.split("/")
        if len(parts) != 4:
            cause = errors.Cause("path", path, "must be four names joined by /")
            raise errors.Invalid(f"not a dump's key: {cause}", (cause,))
        return cls(*parts)

    @property
    def prefix(self) -> Prefix:
        """The container's dumps, of which this is one."""
        return Prefix(self.namespace, self.pod_uid, self.container)

    def path(self, name: str) -> str:
        """The path of the dump's file `name`, such as CORE or META, below the store's root."""
        return f"{self}/{name}"

    def __str__(self) -> str:
        return f"{self.namespace}/{self.pod_uid}/{self.container}/{self.id}"

    def __repr__(self) -> str:
        return f"DumpKey({self})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, DumpKey) and str(self) == str(other)

    def __hash__(self) -> int:
        return hash(str(self))


def split(path: str) -> list[str]:
    """The names in the path of a file below a store's root.

    Raises Invalid for a name that could leave the root.
    """
    parts = path.removesuffix("/").split("/")
    if any(part in ("", ".", "..") or "\0" in part for part in parts):
        cause = errors.Cause("path", path, "must be names joined by /, without '.' and '..'")
        raise errors.Invalid(f"not a path in a store: {cause}", (cause,))
    return parts


def _problems(
    namespace: str | None, pod_uid: str | None, container: str | None
) -> list[errors.Cause]:
    """The parts that break their rule; None breaks none."""
    if namespace == names.HOST_NAMESPACE:
        pod_rule = container_rule = names.is_dns_subdomain
    else:
        pod_rule, container_rule = names.is_uid, names.is_container
    checks = (
        ("namespace", namespace, _is_namespace),
        ("podUID", pod_uid, pod_rule),
        ("container", container, container_rule),
    )
    return [
        errors.Cause(field, part, _RULE)
        for field, part, is_valid in checks
        if part is not None and not is_valid(part)
    ]


def _is_namespace(text: str) -> bool:
    return text == names.HOST_NAMESPACE or names.is_dns_label(text)


def _check(title: str, causes: list[errors.Cause]) -> None:
    if causes:
        raise errors.Invalid(f"{title}: {'; '.join(map(str, causes))}", tuple(causes))
