"""Where a dump lies below a store's root, and what its files are called.

No dataclasses, typing or re: the crash path imports this module.
"""

from __future__ import annotations

from coredumpd import errors
from coredumpd.formats import names


class DumpKey:
    """Where a dump lives, below any store's root: `<namespace>/<podUID>/<container>/<id>`.

    Host crashes: `_host/<node>/<comm>/<id>`. Construction validates: a key in hand is safe to join
    to a path. Raises Invalid naming the part that is not.
    """

    __slots__ = ("container", "id", "namespace", "pod_uid")

    def __init__(self, namespace: str, pod_uid: str, container: str, id: str) -> None:
        host = namespace == names.HOST_NAMESPACE
        checks = (
            ("namespace", namespace, host or names.is_dns_label(namespace)),
            ("podUID", pod_uid, names.is_dns_subdomain(pod_uid) if host else names.is_uid(pod_uid)),
            (
                "container",
                container,
                (names.is_dns_subdomain if host else names.is_dns_label)(container),
            ),
            ("id", id, names.is_dns_subdomain(id) and len(id) <= names.ID_BYTES_MAX),
        )
        causes = tuple(
            errors.Cause(field, value, "is not a valid Kubernetes name or uid")
            for field, value, good in checks
            if not good
        )
        if causes:
            raise errors.Invalid(f"not a dump's key: {'; '.join(map(str, causes))}", causes)
        self.namespace = namespace
        self.pod_uid = pod_uid
        self.container = container
        self.id = id

    def __str__(self) -> str:
        return f"{self.namespace}/{self.pod_uid}/{self.container}/{self.id}"

    def __repr__(self) -> str:
        return f"DumpKey({self})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, DumpKey) and str(self) == str(other)

    def __hash__(self) -> int:
        return hash(str(self))
