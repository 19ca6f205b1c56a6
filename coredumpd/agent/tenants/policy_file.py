"""Write the policy that the handler obeys: whole, and only when it changes."""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path

from coredumpd import durable, errors
from coredumpd.formats import host_dir as host_dirs
from coredumpd.formats import policy
from coredumpd.settings import sections

_log = logging.getLogger(__name__)


def write(
    host_dir: Path,
    settings: sections.PolicySettings,
    node: str,
    tenants: policy.Tenants | None = None,
) -> None:
    """Replace policy.json unless it says the same already. Raises StorageError.

    `tenants` None: the rules that the last agent knew stay, until Kubernetes has been asked.
    """
    path = host_dir / host_dirs.POLICY
    if tenants is None:
        tenants = read_tenants(host_dir)
    data = policy.encode(dataclasses.asdict(settings), node, tenants)
    try:
        if path.read_bytes() == data:
            return
    except OSError:
        pass  # none yet, or none that can be read: it is replaced
    durable.write_whole(path, data)


def read_tenants(host_dir: Path) -> policy.Tenants:
    """The tenants' rules in the policy.json that is there; none when it cannot be read."""
    try:
        return policy.parse_tenants((host_dir / host_dirs.POLICY).read_bytes())
    except FileNotFoundError:
        return policy.Tenants()
    except (OSError, errors.BadRecord) as error:
        _log.warning("the tenants' rules of the last policy.json are lost: %s", error)
        return policy.Tenants()
