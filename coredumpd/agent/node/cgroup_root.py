"""Learn the cgroup in which the kubelet makes kubepods: the agent's own container is below it."""

from __future__ import annotations

import dataclasses
import logging
import os
from pathlib import Path

from coredumpd import errors
from coredumpd.agent.node import host_namespaces
from coredumpd.formats import cgroup
from coredumpd.settings import sections

_CGROUP_NS_INIT_INODE = 0xEFFFFFFB  # PROC_CGROUP_INIT_INO, include/linux/proc_ns.h
_log = logging.getLogger(__name__)


def settle(policy: sections.PolicySettings) -> sections.PolicySettings:
    """`policy` with a cgroupRoot: the setting, else what is learned, else "/"."""
    if policy.cgroupRoot is not None:
        return policy
    root = _learned()
    _log.info("pods are in the cgroups below %s", root)
    return dataclasses.replace(policy, cgroupRoot=root)


def _learned() -> str:
    """The kubelet's root; "/", the strictest, for an agent that is in no pod or cannot tell."""
    try:
        text = host_namespaces.call(_own_cgroup)
    except (OSError, errors.Forbidden) as error:
        text = None
        _log.warning("cannot read the agent's own cgroup: %s", error)
    if text is None:
        _log.warning("the host's cgroups cannot be seen: set policy.cgroupRoot if pods are nested")
        return "/"
    outside = cgroup.outermost(text.encode())
    root = learned(text)
    if outside is not None and cgroup.place(text.encode(), root) is None:
        _log.warning(
            "the agent's own container is in %s, below no kubepods (--cgroups-per-qos=false, or"
            " policy.cgroupRoot is needed): a crash is a pod's only if a state file in"
            " policy.runtimeStateDirs names its cgroup",
            outside[1],
        )
    return root


def learned(text: str) -> str:
    """The root that all paths in an agent's /proc/PID/cgroup agree upon, else "/". Pure."""
    paths = [line.split(":", 2)[-1] for line in text.splitlines()]
    roots = {root for path in paths if (root := cgroup.root_of(path)) is not None}
    return roots.pop() if len(roots) == 1 else "/"


def _own_cgroup() -> str | None:
    """As the host's cgroup namespace has it; None in another one, where paths begin elsewhere."""
    if os.stat("/proc/thread-self/ns/cgroup").st_ino != _CGROUP_NS_INIT_INODE:
        return None
    return Path(f"/proc/{os.getpid()}/cgroup").read_text()
