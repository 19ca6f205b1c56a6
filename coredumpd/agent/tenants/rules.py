"""Which rules differ for which namespaces and pods, within bounds. Pure.

Whoever has no room is denied, never opened: a pod whose rules do not fit is not captured.
"""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

from coredumpd.formats import annotations as dump_annotations
from coredumpd.formats import names, policy

GONE_MAX = 100  # deleted namespaces that are remembered to have wanted sealing
# Together they fit into policy.POLICY_BYTES_MAX, whatever tenants write.
PODS_MAX = 2000
NAMESPACES_MAX = 5000


@dataclasses.dataclass(frozen=True)
class Pod:
    """One pod of this node. `static_uid`: of the static pod whose mirror it seems to be."""

    namespace: str
    name: str
    uid: str
    static_uid: str | None
    annotations: Mapping[str, str]  # ours, without the prefix
    created_s: float = 0.0

    def keys(self) -> list[str]:
        """The keys of its rules in a policy."""
        static = self.static_uid
        return [self.uid] + (
            [policy.static_key(self.namespace, self.name, static)] if static else []
        )


@dataclasses.dataclass(frozen=True)
class Decision:
    """The rules; problems of pods' annotations; pods and namespaces that have no room."""

    tenants: policy.Tenants
    problems: list[tuple[Pod, str]]
    denied_pods: int = 0
    denied_namespaces: int = 0


def decide(
    default: dump_annotations.Rules,
    namespaces: Mapping[str, Mapping[str, str]],
    pods: Iterable[Pod],
    reached: Iterable[str] = (),
    lives: Mapping[str, str] | None = None,
) -> Decision:
    """Namespaces and pods whose rules differ from `default`. Pure.

    `namespaces`: the annotations of those that have any, by name; `reached`: namespaces whose quota
    allows no further core; `lives`: the uids of pods' namespaces, by the pod's uid.
    """
    full = set(reached)
    outer_rules = {
        name: dump_annotations.of_namespace(own, default)[0] for name, own in namespaces.items()
    }
    kept, crowded = within(list(pods), PODS_MAX)
    of_pods: dict[str, dict[str, Any]] = {}
    identities: dict[str, dict[str, Any]] = {}
    wrong: list[tuple[Pod, str]] = []
    for pod in kept:
        outer = outer_rules.get(pod.namespace, default)
        own, problems = dump_annotations.of_pod(pod.annotations, outer)
        wrong += [(pod, problem) for problem in problems]
        identity = {"namespace": pod.namespace, "namespaceUID": (lives or {}).get(pod.uid)}
        identities |= dict.fromkeys(pod.keys(), identity)
        listed = pod.namespace in outer_rules or pod.namespace in full or pod.namespace in crowded
        if own != default or listed:
            of_pods |= dict.fromkeys(pod.keys(), _rules(own, pod.namespace in full))
    named = {name for name, own in outer_rules.items() if own != default} | full | set(crowded)
    here = {pod.namespace for pod in kept}
    order = sorted(named, key=lambda name: (name not in here, name))
    of_namespaces = {
        name: _rules(outer_rules.get(name, default), name in full, denied=name in crowded)
        for name in order[:NAMESPACES_MAX]
    }
    unlisted = "disabled" if len(order) > NAMESPACES_MAX else "enabled"
    tenants = policy.Tenants(of_namespaces, of_pods, None, identities, unlisted)
    denied = max(0, len(order) - NAMESPACES_MAX)
    return Decision(tenants, wrong, sum(crowded.values()), denied)


def within(pods: list[Pod], pods_max: int) -> tuple[list[Pod], Mapping[str, int]]:
    """At most `pods_max` pods, and how many of each namespace have no room.

    Each namespace has an equal share; what it does not need is the others'. Its oldest pods stay.
    """
    groups: dict[str, list[Pod]] = collections.defaultdict(list)
    for pod in pods:
        groups[pod.namespace].append(pod)
    kept: list[Pod] = []
    crowded: dict[str, int] = {}
    smallest_first = sorted(groups.items(), key=lambda item: (len(item[1]), item[0]))
    for position, (namespace, own) in enumerate(smallest_first):
        share = (pods_max - len(kept)) // (len(groups) - position)
        kept += sorted(own, key=lambda pod: (pod.created_s, pod.uid))[:share]
        if len(own) > share:
            crowded[namespace] = len(own) - share
    return kept, crowded


def _rules(rules: dump_annotations.Rules, reached: bool, *, denied: bool = False) -> dict[str, Any]:
    return {
        "capture": "enabled" if rules.enabled and not denied else "disabled",
        "maxSize": rules.maxSize,
        "quotaReached": reached,
    }


def sealed_to(
    before: Mapping[str, str] | None,
    namespaces: Mapping[str, Mapping[str, str]],
    here: Iterable[str] = (),
) -> dict[str, str]:
    """The names of the ConfigMaps with the recipients, by namespace. Pure.

    `namespaces`: the annotations of every namespace that exists; `here`: those with pods on this
    node, which have room first. A deleted one is remembered from `before`: a dump of it may still
    be on this node. A name that no ConfigMap has is "".
    """
    gone = [(name, to) for name, to in (before or {}).items() if name not in namespaces]
    first = set(here)
    present = {
        name: to if names.is_dns_subdomain(to) else ""
        for name in sorted(namespaces, key=lambda name: (name not in first, name))
        if (to := namespaces[name].get(dump_annotations.ENCRYPT_TO)) is not None
    }
    return dict(gone[-GONE_MAX:]) | dict(list(present.items())[:NAMESPACES_MAX])


def is_free(default: dump_annotations.Rules, tenants: policy.Tenants) -> bool:
    """Is it certain that nobody seals and nobody opts out? Then a dump of an unknown pod may leave.

    While Kubernetes has not been asked, nothing is certain.
    """
    exceptions = [*tenants.namespaces.values(), *tenants.pods.values()]
    return (
        default.enabled
        and tenants.encryptTo == {}
        and tenants.unlisted == "enabled"
        and not any(own.get("capture") == "disabled" for own in exceptions)
    )
