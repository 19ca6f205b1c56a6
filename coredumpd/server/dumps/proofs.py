"""The note that proves in which namespace a pod was, for records without the namespace's uid.

It lies beside the pod's dumps. The collector writes it while the API has the pod in the namespace.

Tested in: tests/unit/server/dumps/test_own_namespace.py
"""

from __future__ import annotations

import json
from typing import Protocol

NOTE = "namespace.json"


class Store(Protocol):
    """The part of `store.interface.Store` that is needed here."""

    def read_note(self, namespace: str, pod_uid: str, name: str) -> bytes | None: ...


def note(uid: str) -> bytes:
    """The note's content: the pod is in the namespace with this uid."""
    return json.dumps({"uid": uid}).encode()


def uid_of(store: Store, namespace: str, pod_uid: str) -> str | None:
    """The uid in the note; None without a readable note. Blocks; raises StorageError."""
    try:
        uid = json.loads(store.read_note(namespace, pod_uid, NOTE) or b"")["uid"]
    except (ValueError, LookupError, TypeError, RecursionError):
        return None
    return uid if isinstance(uid, str) else None
