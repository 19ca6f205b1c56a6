"""The pod, or the container in it, that an Event is about: core/v1 ObjectReference. Pure."""

from __future__ import annotations

from typing import Any


def make(
    namespace: str | None, name: str | None, uid: str | None, field_path: str | None = None
) -> dict[str, Any]:
    """The reference; `field_path` names a container, None: the pod itself."""
    reference: dict[str, Any] = {"apiVersion": "v1", "kind": "Pod"}
    reference |= {"namespace": namespace, "name": name, "uid": uid}
    return reference if field_path is None else {**reference, "fieldPath": field_path}
