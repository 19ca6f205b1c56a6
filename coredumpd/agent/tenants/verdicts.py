"""Decides about one dump by the rules in force. Pure.

`tenants` are the rules of the last snapshot. Each pod goes by its own key: what another pod says of
itself changes nothing here.
"""

from __future__ import annotations

from coredumpd import errors
from coredumpd.formats import names, policy
from coredumpd.formats import record as records


def refuses(tenants: policy.Tenants, default: str, record: records.CrashRecord) -> bool:
    """Must this dump be removed? The handler may have captured it under an older snapshot.

    `default` is policy.capture of the settings. Raises Unavailable while the rules are not known:
    Kubernetes has never been asked.
    """
    namespace = record.namespace or ""
    if namespace == names.HOST_NAMESPACE:
        return False
    if tenants.encryptTo is None:
        text = f"not known yet whether dumps of namespace {namespace} may be kept"
        raise errors.Unavailable(text)
    key = policy.key_of(tenants.identities, record.pod_uid or "", record.namespace, record.pod_name)
    exception = tenants.pods.get(key) or tenants.namespaces.get(namespace)
    if exception is None and tenants.unlisted == "disabled":
        return key not in tenants.identities
    return bool((exception or {}).get("capture", default) == "disabled")


def sealed_before(tenants: policy.Tenants, namespace: str, uid: str | None) -> str | None:
    """The last snapshot's `encrypt-to` of the namespace with this uid; None: nothing.

    Raises Unavailable if that snapshot does not know the namespace.
    """
    listed = any(
        own.get("namespace") == namespace and own.get("namespaceUID") == uid
        for own in tenants.identities.values()
    )
    before = tenants.encryptTo
    if before is None or uid is None or not (listed or namespace in before):
        text = f"not known yet whether namespace {namespace} wants its dumps encrypted"
        raise errors.Unavailable(text)
    return before.get(namespace)
