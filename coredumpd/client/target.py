"""The dumps that a word of the command line names: one dump, a pod's, or a workload's. Pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from coredumpd import errors
from coredumpd.formats import names

POD, DUMP = "pod", "dump"
DEPLOYMENT = "Deployment"
# Each kind with kubectl's words for it; the first is the one that help shows.
_WORDS = {
    POD: ("pod", "po", "pods"),
    DEPLOYMENT: ("deploy", "deployment", "deployments"),
    "StatefulSet": ("sts", "statefulset", "statefulsets"),
    "DaemonSet": ("ds", "daemonset", "daemonsets"),
    "Job": ("job", "jobs"),
    "ReplicaSet": ("rs", "replicaset", "replicasets"),
    DUMP: ("coredump", "core", "coredumps"),
}
_KINDS = {word: kind for kind, words in _WORDS.items() for word in words}
SYNTAX = "POD, DUMP, or " + ", ".join(f"{words[0]}/NAME" for words in _WORDS.values())
# The ReplicaSets of a Deployment are named by it and this label of their pods (apps/v1).
_TEMPLATE_HASH = "pod-template-hash"


@dataclasses.dataclass(frozen=True, slots=True)
class Target:
    """`kind` is POD, DUMP, or a workload's, such as "StatefulSet"."""

    kind: str
    name: str

    @property
    def field_selector(self) -> str:
        """The part of `selects` that the server can do; "" for none."""
        fields = {POD: "status.podName", DUMP: "metadata.name"}
        return f"{fields[self.kind]}={self.name}" if self.kind in fields else ""

    def selects(self, dump: Mapping[str, Any]) -> bool:
        """Is the Coredump object `dump` one of the target's?"""
        status = dump.get("status") or {}
        if self.kind == POD:
            return bool(status.get("podName") == self.name)
        if self.kind == DUMP:
            return bool(dump["metadata"]["name"] == self.name)
        kind, name = self.kind, self.name
        if kind == DEPLOYMENT:
            template = (status.get("podLabels") or {}).get(_TEMPLATE_HASH)
            if not template:
                return False
            kind, name = "ReplicaSet", f"{name}-{template}"
        owner = status.get("owner") or {}
        return (owner.get("kind"), owner.get("name")) == (kind, name)

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


def parse(word: str) -> Target:
    """The target that `word` names, see SYNTAX. Raises UsageError naming the rule it breaks.

    A bare name is a dump if it is built as `formats.names` builds a dump's id.
    """
    kind_word, slash, name = word.rpartition("/")
    kind = _KINDS.get(kind_word.lower())
    if slash and kind is None:
        raise errors.UsageError(f"{word!r}: no kind {kind_word!r} has dumps; write {SYNTAX}")
    if not names.is_dns_subdomain(name):
        raise errors.UsageError(f"{word!r}: {name!r} is not a name in Kubernetes; write {SYNTAX}")
    return Target(kind or (DUMP if names.id_time(name) else POD), name)
