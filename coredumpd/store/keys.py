"""Names below a store's root, the same in every engine."""

from __future__ import annotations

from coredumpd import errors, record


def prefix(namespace: str | None, pod_uid: str | None, container: str | None) -> tuple[str, ...]:
    """The names given, fit to be joined to a path. Raises Invalid, or BadRequest for a gap."""
    names = (namespace, pod_uid, container)
    given = tuple(name for name in names if name is not None)
    if names[: len(given)] != given:
        raise errors.BadRequest("a prefix of a key names the namespace, then podUID, container")
    record.DumpKey(
        "any" if namespace is None else namespace,
        "any" if pod_uid is None else pod_uid,
        "any" if container is None else container,
        "any",
    )
    return given
