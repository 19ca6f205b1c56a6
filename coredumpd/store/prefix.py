"""Names below a store's root, the same in every engine."""

from __future__ import annotations

from coredumpd import errors
from coredumpd.formats import layout

# A note about a pod lies beside its containers; no container has such a name.
NOTE = ".note-"
NOTE_BYTES_MAX = 64 * 1024


def prefix(namespace: str | None, pod_uid: str | None, container: str | None) -> tuple[str, ...]:
    """The names given, fit to be joined to a path. Raises Invalid, or BadRequest for a gap."""
    names = (namespace, pod_uid, container)
    given = tuple(name for name in names if name is not None)
    if names[: len(given)] != given:
        raise errors.BadRequest("a prefix of a key names the namespace, then podUID, container")
    layout.DumpKey(
        "any" if namespace is None else namespace,
        "any" if pod_uid is None else pod_uid,
        "any" if container is None else container,
        "any",
    )
    return given


def names(path: str) -> list[str]:
    """The names in a path of `store.File`. Raises Invalid for one that could leave the root."""
    found = path.removesuffix("/").split("/")
    if any(name in ("", ".", "..") or "\0" in name for name in found):
        cause = errors.Cause("path", path, "must be names joined by /, without '.' and '..'")
        raise errors.Invalid(f"not a path in a store: {cause}", (cause,))
    return found
