"""Decides about one dump by the rules in force. Pure.

`tenants` are the rules of the last snapshot. Each pod goes by its own key: what another pod says of
itself changes nothing here.
"""

from __future__ import annotations

from collections.abc import Mapping

from coredumpd import errors
from coredumpd.formats import annotations as dump_annotations
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


def rule_against(
    tenants: policy.Tenants,
    default: str,
    namespace: str,
    pod_uid: str,
    of_pod: Mapping[str, str],
    of_namespace: Mapping[str, str],
) -> str | None:
    """Why captures of a pod are disabled, in words; None: they are not.

    `default` as for `refuses`; `of_pod` and `of_namespace`: the annotations that are meant for us.
    """
    own = tenants.pods.get(pod_uid) or tenants.namespaces.get(namespace) or {}
    if own.get("capture", default) != "disabled":
        return None
    for its, owner in ((of_namespace, "namespace"), (of_pod, "pod")):
        if its.get(dump_annotations.CAPTURE, "enabled") != "enabled":
            name = dump_annotations.PREFIX + dump_annotations.CAPTURE
            return f"captures are disabled by the annotation {name} of its {owner}"
    if default == "disabled":
        return "captures are disabled in this cluster (policy.capture)"
    return "the rules of its namespace have no room in this node's policy"


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
