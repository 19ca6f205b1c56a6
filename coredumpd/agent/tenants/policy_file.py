"""The snapshot the handler obeys, `<hostDir>/policy.json`: written whole, only when it changes."""

from __future__ import annotations

import dataclasses
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from coredumpd import durable
from coredumpd.formats import host_dir as host_dirs
from coredumpd.settings import sections

VERSION = 1
_log = logging.getLogger(__name__)
Rules = Mapping[str, Mapping[str, Any]]  # by namespace or pod uid: what differs from the default


@dataclasses.dataclass(frozen=True)
class Tenants:
    """The rules of some namespaces and pods; the cluster's settings hold for all others."""

    namespaces: Rules = dataclasses.field(default_factory=dict)
    pods: Rules = dataclasses.field(default_factory=dict)
    # By namespace, the ConfigMap with the recipients of its dumps; None: nobody has asked yet.
    encryptTo: Mapping[str, str] | None = None


def encode(policy: sections.PolicySettings, node: str, tenants: Tenants) -> bytes:
    """The document `coredumpd.handler.policy` reads."""
    document = {"version": VERSION, "node": node} | dataclasses.asdict(policy)
    document |= dataclasses.asdict(tenants)
    return json.dumps(document, indent=1).encode() + b"\n"


def write(
    host_dir: Path,
    policy: sections.PolicySettings,
    node: str,
    tenants: Tenants | None = None,
) -> None:
    """Replace the snapshot unless it is the same. Raises StorageError.

    `tenants` None: keep those of the last snapshot, until Kubernetes has been asked.
    """
    path = host_dir / host_dirs.POLICY
    data = encode(policy, node, read_tenants(host_dir) if tenants is None else tenants)
    try:
        if path.read_bytes() == data:
            return
    except OSError:
        pass  # none yet, or none that can be read: it is replaced
    durable.write_whole(path, data)


def read_tenants(host_dir: Path) -> Tenants:
    """The last snapshot's tenants; none when it cannot be read."""
    try:
        document = json.loads((host_dir / host_dirs.POLICY).read_bytes())
        sealed = document.get("encryptTo")
        return Tenants(
            dict(document.get("namespaces", {})),
            dict(document.get("pods", {})),
            None if sealed is None else {str(name): str(to) for name, to in sealed.items()},
        )
    except FileNotFoundError:
        return Tenants()
    except (OSError, ValueError, TypeError, AttributeError) as error:
        _log.warning("the tenants of the last policy.json are lost: %s", error)
        return Tenants()
