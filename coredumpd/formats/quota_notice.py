"""Which namespaces may keep no new core, as the leading server tells the agents (onQuota: reject).

One ConfigMap in the namespace that both run in; written by the server, followed by the agents.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

CONFIG_MAP = "coredumpd-quota"
_REACHED = "reached"  # names of namespaces, one in a line


def document(reached: Collection[str]) -> dict[str, Any]:
    """The ConfigMap that says so, without its namespace."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": CONFIG_MAP},
        "data": {_REACHED: "".join(f"{name}\n" for name in sorted(reached))},
    }


def reached(found: Mapping[str, Any]) -> frozenset[str]:
    """What a ConfigMap says; nothing where it does not say it."""
    data = found.get("data")
    text = data.get(_REACHED) if isinstance(data, Mapping) else None
    return frozenset(text.split()) if isinstance(text, str) else frozenset()
