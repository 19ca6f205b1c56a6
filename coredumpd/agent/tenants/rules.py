"""Which rules differ for which namespaces and pods. Pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

from coredumpd.formats import annotations as dump_annotations
from coredumpd.formats import policy

GONE_MAX = 100  # deleted namespaces that are remembered to have wanted sealing


@dataclasses.dataclass(frozen=True)
class Pod:
    """One pod of this node, and its annotations that are meant for us."""

    namespace: str
    name: str
    uid: str
    uids: frozenset[str]
    annotations: Mapping[str, str]


def decide(
    default: dump_annotations.Rules,
    namespaces: Mapping[str, Mapping[str, str]],
    pods: Iterable[Pod],
    reached: Iterable[str] = (),
) -> tuple[policy.Tenants, list[tuple[Pod, str]]]:
    """Namespaces and pods whose rules differ from `default`; problems of pods' annotations. Pure.

    `namespaces`: the annotations of those that have any, by name; `reached`: namespaces whose quota
    allows no further core.
    """
    full = set(reached)
    outer_rules = {
        name: dump_annotations.of_namespace(own, default)[0] for name, own in namespaces.items()
    }
    of_pods: dict[str, dict[str, Any]] = {}
    wrong: list[tuple[Pod, str]] = []
    for pod in pods:
        outer = outer_rules.get(pod.namespace, default)
        own, problems = dump_annotations.of_pod(pod.annotations, outer)
        wrong += [(pod, problem) for problem in problems]
        if own != default or pod.namespace in outer_rules or pod.namespace in full:
            rules = _rules(own, pod.namespace in full)
            of_pods |= dict.fromkeys(pod.uids, rules)
    named = {name for name, own in outer_rules.items() if own != default} | full
    of_namespaces = {
        name: _rules(outer_rules.get(name, default), name in full) for name in sorted(named)
    }
    return policy.Tenants(of_namespaces, of_pods), wrong


def _rules(rules: dump_annotations.Rules, reached: bool) -> dict[str, Any]:
    return {
        "capture": "enabled" if rules.enabled else "disabled",
        "maxSize": rules.maxSize,
        "quotaReached": reached,
    }


def sealed_to(
    before: Mapping[str, str] | None, namespaces: Mapping[str, Mapping[str, str]]
) -> dict[str, str]:
    """The names of the ConfigMaps with the recipients, by namespace. Pure.

    `namespaces`: the annotations of every namespace that exists. A deleted one is remembered from
    `before`: a dump of it may still be on this node.
    """
    gone = [(name, to) for name, to in (before or {}).items() if name not in namespaces]
    present = {
        name: own[dump_annotations.ENCRYPT_TO]
        for name, own in sorted(namespaces.items())
        if dump_annotations.ENCRYPT_TO in own
    }
    return dict(gone[-GONE_MAX:]) | present
