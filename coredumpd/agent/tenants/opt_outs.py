"""Pods that have disabled captures for themselves, living or gone.

A pod can crash before the handler's snapshot has its rules, and be gone before its dump is shipped.
So its own word is remembered from the moment that the API shows it. Of a pod that no agent has ever
seen, that word is not known: `shipping/attribution` keeps its dumps on the node.
"""

from __future__ import annotations

from collections.abc import MutableMapping

from coredumpd import cache
from coredumpd.agent.tenants import rules
from coredumpd.formats import annotations as dump_annotations
from coredumpd.formats import policy
from coredumpd.formats import record as records

REMEMBERED_MAX = 10_000
_OPEN = dump_annotations.Rules(True, 2**62)  # so that a pod's own rule alone decides


class OptOuts:
    """By a pod's key. Belongs to one event loop."""

    def __init__(self, last: policy.Tenants) -> None:
        """`last`: the rules that the last agent knew."""
        self._namespaces: MutableMapping[str, object] = cache.recent(REMEMBERED_MAX)
        for key, own in last.pods.items():
            if own.get("capture") == "disabled":
                self._namespaces[key] = last.identities.get(key, {}).get("namespace")

    def note(self, pod: rules.Pod) -> None:
        """Take the word of a pod as the API shows it now."""
        own, _ = dump_annotations.of_pod(pod.annotations, _OPEN)
        for key in pod.keys():  # noqa: SIM118 (no mapping)
            if own.enabled:
                self._namespaces.pop(key, None)
            else:
                self._namespaces[key] = pod.namespace

    def has(self, record: records.CrashRecord) -> bool:
        """Has the pod of `record` disabled captures? A pod of another namespace says nothing."""
        namespace, uid = record.namespace or "", record.pod_uid or ""
        static = policy.static_key(namespace, record.pod_name or "", uid)
        return any(self._namespaces.get(key) == namespace for key in (uid, static))
