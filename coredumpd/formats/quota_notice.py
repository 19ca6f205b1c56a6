"""The ConfigMap of namespaces whose quota is reached: they may keep no new core (onQuota: reject).

It lies in the namespace that server and agents run in; the leading server writes it, the agents
follow it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

CONFIG_MAP = "coredumpd-quota"
_REACHED = "reached"  # names of namespaces, one in a line


def document(reached: Collection[str]) -> dict[str, Any]:
    """The ConfigMap that lists these namespaces, without its own namespace."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": CONFIG_MAP},
        "data": {_REACHED: "".join(f"{name}\n" for name in sorted(reached))},
    }


def reached(config_map: Mapping[str, Any]) -> frozenset[str]:
    """The namespaces that a ConfigMap lists; none if it lists them in no readable form."""
    data = config_map.get("data")
    text = data.get(_REACHED) if isinstance(data, Mapping) else None
    return frozenset(text.split()) if isinstance(text, str) else frozenset()
