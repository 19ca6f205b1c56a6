"""Which rules differ for which namespaces and pods. Pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

from coredumpd.agent.tenants import policy_file
from coredumpd.formats import annotations as annotated

GONE_MAX = 100  # deleted namespaces that are remembered to have wanted sealing


@dataclasses.dataclass(frozen=True)
class Pod:
    """One pod of this node, and what it says."""

    namespace: str
    name: str
    uid: str
    uids: frozenset[str]
    said: Mapping[str, str]


def decide(
    default: annotated.Capture,
    namespaces: Mapping[str, Mapping[str, str]],
    pods: Iterable[Pod],
    reached: Iterable[str] = (),
) -> tuple[policy_file.Tenants, list[tuple[Pod, str]]]:
    """What differs from `default` for whom, and what is wrong with what pods say. Pure.

    `namespaces` by name, those that say something; `reached`: whose quota allows nothing new.
    """
    full = set(reached)
    holds = {name: annotated.of_namespace(said, default)[0] for name, said in namespaces.items()}
    of_pods: dict[str, dict[str, Any]] = {}
    wrong: list[tuple[Pod, str]] = []
    for pod in pods:
        outer = holds.get(pod.namespace, default)
        found, problems = annotated.of_pod(pod.said, outer)
        wrong += [(pod, problem) for problem in problems]
        if found != default or pod.namespace in holds or pod.namespace in full:
            rules = _rules(found, pod.namespace in full)
            of_pods |= dict.fromkeys(pod.uids, rules)
    named = {name for name, capture in holds.items() if capture != default} | full
    of_namespaces = {name: _rules(holds.get(name, default), name in full) for name in sorted(named)}
    return policy_file.Tenants(of_namespaces, of_pods), wrong


def _rules(capture: annotated.Capture, reached: bool) -> dict[str, Any]:
    return {
        "capture": "enabled" if capture.enabled else "disabled",
        "maxSize": capture.maxSize,
        "quotaReached": reached,
    }


def sealed_to(
    before: Mapping[str, str] | None, namespaces: Mapping[str, Mapping[str, str]]
) -> dict[str, str]:
    """The ConfigMap with the recipients, by namespace. Pure.

    `namespaces`: what each one that is there says. One that is gone is remembered from `before`: a
    dump of it may still be here.
    """
    gone = [(name, to) for name, to in (before or {}).items() if name not in namespaces]
    there = {
        name: said[annotated.ENCRYPT_TO]
        for name, said in sorted(namespaces.items())
        if annotated.ENCRYPT_TO in said
    }
    return dict(gone[-GONE_MAX:]) | there
