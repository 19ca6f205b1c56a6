"""The owner of an entry, as the handler knew it before it had read more than the core's beginning.

The handler reads bytes that an attacker wrote, and writes meta.json after them. So it first says in
an extended attribute of the entry's directory whose crash it captures; its sandbox then lets it
neither change attributes nor make directories. The shipper believes no record that says otherwise.

Only root may set an attribute of the class `security`, everybody may read it (xattr(7)). Where the
spool's file system has none, entries are without, and the record stands alone.
"""

from __future__ import annotations

import os

from coredumpd import errors
from coredumpd.formats import names
from coredumpd.formats import record as records

ATTRIBUTE = "security.coredumpd"
_FIELDS = ("namespace", "podName", "podUID", "containerID")


def mark(directory: int, record: records.CrashRecord) -> None:
    """Write into the directory of an entry whose crash `record` is. Raises OSError."""
    import json  # as everywhere on the crash path: only when it is needed

    own = {field: record.raw[field] for field in _FIELDS}
    os.setxattr(directory, ATTRIBUTE, json.dumps(own).encode())


def verified(directory: str | int, record: records.CrashRecord) -> records.CrashRecord:
    """`record`, if it agrees with what its handler wrote at first. Raises BadRecord if it does not.

    A shipper may have completed it since then: named a pod that the handler knew by its uid alone,
    or replaced the uid of a static pod, whose names stay. One that was given to the host, though it
    is a pod's, comes back as the pod's: whoever gave it there has to decide again.
    """
    import json

    try:
        own = json.loads(os.getxattr(directory, ATTRIBUTE))
        namespace, pod_name, pod_uid, container_id = (own[field] for field in _FIELDS)
    except OSError:
        return record  # as above
    except (ValueError, KeyError, TypeError) as error:
        raise errors.BadRecord(f"the attribute {ATTRIBUTE} of its entry is damaged") from error
    if record.namespace == names.HOST_NAMESPACE != namespace:
        record = record.with_(namespace=namespace)
    if record.container_id != container_id:
        raise _contradiction("container", record.container_id, container_id)
    if namespace is None and record.pod_uid != pod_uid:
        raise _contradiction("pod", record.pod_uid, pod_uid)
    if namespace is not None and (record.namespace, record.pod_name) != (namespace, pod_name):
        recorded, true = f"{record.namespace}/{record.pod_name}", f"{namespace}/{pod_name}"
        raise _contradiction("pod", recorded, true)
    return record


def _contradiction(kind: str, recorded: str | None, true: str | None) -> errors.BadRecord:
    return errors.BadRecord(f"the record says {kind} {recorded}, but the crash was of {true}")
