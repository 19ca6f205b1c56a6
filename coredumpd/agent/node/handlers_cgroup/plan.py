"""Which cgroups are made for the handlers, with which limits. Pure.

Kernels run handlers in the root cgroup. Below it, one cgroup per installation is made: in cgroup
v2, or in the v1 hierarchies of cpu and memory, or in both, wherever a controller is (a hybrid). A
storm of crashes then takes CPU time in proportion to the weight and no more memory than captures
may need. The memory limit is a sum over all slots: it bounds what goes wrong, and is not to be met.

Sources: Documentation/admin-guide/cgroup-v2.rst, cgroup-v1/memory.rst, cgroup-v1/cgroups.rst.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import NamedTuple

from coredumpd.settings import sections

CPU, MEMORY = CONTROLLERS = ("cpu", "memory")
WAITING_BYTES = 8 * 1024 * 1024  # of a handler that does not store; measured: 5 MiB
_DEFAULT_WEIGHT, _DEFAULT_SHARES, _SHARES_MIN = 100, 1024, 2  # equal parts, of v2 and of v1


class Limits(NamedTuple):
    """`cpu_weight` as of cgroup v2, 1 to 10000; bytes of memory of all handlers together."""

    cpu_weight: int
    memory: int


class Cgroup(NamedTuple):
    """One controller's: its directory, and what is written to which of its files."""

    controller: str
    directory: str
    values: Mapping[str, str]
    unified: str | None = None  # v2: the root of its hierarchy, which must delegate the controller


def limits(settings: sections.Settings) -> Limits:
    """Room for a capture in each slot, and for as many handlers as the kernel starts."""
    agent = settings.agent
    captures = min(settings.policy.captureSlots, agent.corePipeLimit)
    memory = captures * agent.handlerMemory + agent.corePipeLimit * WAITING_BYTES
    return Limits(agent.handlersCpuWeight, memory)


def name(host_dir: str) -> str:
    """Of the cgroups of the installation in `host_dir`: there may be others on the node."""
    return f"coredumpd-{hashlib.sha256(host_dir.encode()).hexdigest()[:8]}"


def cgroups(
    name: str, mounts: str, unified: Mapping[str, str], bounds: Limits
) -> dict[str, Cgroup]:
    """The cgroup to make for each controller, from the text of /proc/self/mounts.

    `unified`: the text of cgroup.controllers by the place where a v2 hierarchy is mounted. A
    controller that no hierarchy has is left out.
    """
    planned: dict[str, Cgroup] = {}
    for line in mounts.splitlines():
        _, place, kind, options, *_ = [*line.split(" "), "", "", "", ""]
        v2 = kind == "cgroup2"
        own = unified.get(place, "").split() if v2 else options.split(",")
        for controller in CONTROLLERS if kind in ("cgroup", "cgroup2") else ():
            if controller in own and controller not in planned:
                values = _values(controller, v2, bounds)
                root = place if v2 else None
                planned[controller] = Cgroup(controller, f"{place}/{name}", values, root)
    return planned


def _values(controller: str, v2: bool, bounds: Limits) -> dict[str, str]:
    if controller == CPU:
        shares = max(_SHARES_MIN, bounds.cpu_weight * _DEFAULT_SHARES // _DEFAULT_WEIGHT)
        return {"cpu.weight": str(bounds.cpu_weight)} if v2 else {"cpu.shares": str(shares)}
    limit = str(bounds.memory)
    if v2:  # beyond the limit one process is killed, never every capture
        return {"memory.max": limit, "memory.oom.group": "0"}
    return {"memory.limit_in_bytes": limit}
