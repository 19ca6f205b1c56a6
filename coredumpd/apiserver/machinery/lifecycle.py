"""An object's life as Kubernetes keeps it: created, replaced, marked for deletion, gone. Pure."""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Mapping
from typing import Any

from coredumpd import errors, units

KEPT = ("generateName", "labels", "annotations", "ownerReferences", "finalizers")
_SYSTEM = ("name", "namespace", "uid", "generation", "creationTimestamp", "generateName")
_DELETION = ("deletionTimestamp", "deletionGracePeriodSeconds")
_MUTABLE = ("labels", "annotations", "ownerReferences", "finalizers")
_SUFFIX_CHARS = "bcdfghjklmnpqrstvwxz2456789"  # as Kubernetes: no vowels, no lookalikes
_NAME_PREFIX_MAX = 248
_PROPAGATION = {"Foreground": "foregroundDeletion", "Orphan": "orphan", "Background": None}


def generated_name(prefix: str) -> str:
    """`prefix` with a random suffix of five characters."""
    return prefix[:_NAME_PREFIX_MAX] + "".join(secrets.choice(_SUFFIX_CHARS) for _ in range(5))


def born(meta: Mapping[str, Any], namespace: str, name: str) -> dict[str, Any]:
    """The metadata of a new object."""
    metadata: dict[str, Any] = {
        "name": name,
        "namespace": namespace,
        "uid": str(uuid.uuid4()),
        "generation": 1,
        "creationTimestamp": units.timestamp(),
    }
    return metadata | {field: meta[field] for field in KEPT if meta.get(field)}


def replaced(
    old: Mapping[str, Any], new: Mapping[str, Any]
) -> tuple[dict[str, Any], list[errors.Cause]]:
    """(metadata after an update from `old` to what a client sent, rules broken).

    The system's fields stay as they are; once deletion began, no finalizer can be added.
    """
    meta = {field: old[field] for field in (*_SYSTEM, *_DELETION) if field in old}
    meta |= {field: new[field] for field in _MUTABLE if new.get(field)}
    causes = []
    if "deletionTimestamp" in old:
        added = set(new.get("finalizers") or ()) - set(old.get("finalizers") or ())
        if added:
            rule = "no new finalizers can be added if the object is being deleted"
            causes.append(errors.Cause("metadata.finalizers", sorted(added), rule))
    return meta, causes


def check_identity(plural: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
    """Raises BadRequest for another name or namespace, Conflict for another uid or revision."""
    name = old["name"]
    if new.get("name") not in (None, "", name):
        raise errors.BadRequest.about(
            "metadata.name",
            f"the name of the object ({new['name']}) does not match the name on the URL ({name})",
        )
    if new.get("namespace") not in (None, "", old["namespace"]):
        raise errors.BadRequest.about(
            "metadata.namespace",
            "the namespace of the provided object does not match the namespace sent on the request",
        )
    if new.get("uid") not in (None, "", old["uid"]):
        raise _conflict(plural, name, f"Precondition failed: UID in precondition: {new['uid']}")
    if new.get("resourceVersion") not in (None, "", old["resourceVersion"]):
        raise _conflict(
            plural,
            name,
            "the object has been modified; please apply your changes to the latest version "
            "and try again",
        )


def check_preconditions(plural: str, meta: Mapping[str, Any], body: Mapping[str, Any]) -> None:
    """DeleteOptions.preconditions. Raises Conflict, or BadRequest for nonsense."""
    preconditions = body.get("preconditions") or {}
    if not isinstance(preconditions, Mapping):
        raise errors.BadRequest.about("preconditions", "preconditions must be a mapping")
    for field in ("uid", "resourceVersion"):
        value = preconditions.get(field)
        if value is not None and value != meta[field]:
            mismatch = f"{field} in precondition: {value}, {field} in object meta: {meta[field]}"
            raise _conflict(
                plural, meta["name"], f"Precondition failed: {mismatch}", f"preconditions.{field}"
            )


def finalizer_of(options: Mapping[str, Any]) -> str | None:
    """The finalizer that a propagationPolicy asks for. Raises Invalid for an unknown one."""
    policy = options.get("propagationPolicy")
    if policy is None:
        return "orphan" if options.get("orphanDependents") is True else None
    if not isinstance(policy, str) or policy not in _PROPAGATION:
        cause = errors.Cause("propagationPolicy", policy, f"one of {', '.join(_PROPAGATION)}")
        raise errors.Invalid("DeleteOptions is invalid", (cause,))
    return _PROPAGATION[policy]


def marked_for_deletion(meta: Mapping[str, Any], finalizer: str | None) -> dict[str, Any] | None:
    """Metadata of an object that has to wait for its finalizers; None when it can go at once."""
    finalizers = list(meta.get("finalizers") or ())
    if finalizer is not None and finalizer not in finalizers and "deletionTimestamp" not in meta:
        finalizers.append(finalizer)
    if not finalizers:
        return None
    waiting = {**meta, "finalizers": finalizers}
    waiting.setdefault("deletionTimestamp", units.timestamp())
    waiting.setdefault("deletionGracePeriodSeconds", 0)
    return waiting


def _conflict(
    plural: str, name: str, why: str, field: str = "metadata.resourceVersion"
) -> errors.Conflict:
    return errors.Conflict.about(
        field, f'Operation cannot be fulfilled on {plural} "{name}": {why}'
    )
