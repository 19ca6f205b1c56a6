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
    """Replace policy.json unless it says the same already. Raises StorageError, BadRecord.

    `tenants` None: the rules that the last agent knew stay, until Kubernetes has been asked.
    """
    path, last = host_dir / host_dirs.POLICY, host_dir / host_dirs.LAST_POLICY
    if tenants is None:
        tenants = read_tenants(host_dir)
    data = policy.encode(dataclasses.asdict(settings), node, tenants)
    try:
        if path.read_bytes() == last.read_bytes() == data:
            return
    except OSError:
        pass  # none yet, or none that can be read: it is replaced
    policy.parse(data)  # raises BadRecord: the handler must find a policy that it obeys
    for one in (path, last):
        durable.write_whole(one, data)


def read_tenants(host_dir: Path) -> policy.Tenants:
    """The tenants' rules in the policy that is there, or in the last good one; else none."""
    for name in (host_dirs.POLICY, host_dirs.LAST_POLICY):
        try:
            return policy.parse_tenants((host_dir / name).read_bytes())
        except FileNotFoundError:
            continue
        except (OSError, errors.BadRecord) as error:
            _log.warning("the tenants' rules in %s are lost: %s", name, error)
    return policy.Tenants()
