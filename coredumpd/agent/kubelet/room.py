"""Numbers for the handler's policy: how much of the spool's disk captures leave free.

The handler only compares two numbers with statfs(2). They come from here: a setting, or what this
node's kubelet demands, of the disk as PID 1's mount namespace has it, for there the handler runs.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import os
from collections.abc import AsyncIterator
from pathlib import Path

from coredumpd import aiokit, errors, units
from coredumpd.agent.kubelet import configuration, eviction
from coredumpd.agent.node import host_namespaces
from coredumpd.formats import host_dir as host_dirs
from coredumpd.settings import sections
from coredumpd.spool import room

CHECK_EVERY_S = 60.0
_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Reserve:
    """Bytes and inodes that stay free; None: the handler's default, for the disk is not seen.

    `text` says how much that is, of how much and why; `problems`, what could not be read.
    """

    size: int | None
    inodes: int | None
    text: str = ""
    problems: tuple[str, ...] = ()

    def settle(self, policy: sections.PolicySettings) -> sections.PolicySettings:
        """`policy` with these numbers."""
        return dataclasses.replace(policy, spoolKeepFree=self.size, spoolKeepFreeInodes=self.inodes)

    def log(self) -> None:
        """Say what was decided."""
        for problem in self.problems:
            _log.warning("%s", problem)
        _log.info("%s", self.text)


def look(settings: sections.Settings) -> Reserve:
    """The reserve for this node's disk and kubelet as they are now. Blocks; never raises."""
    spool = Path(settings.agent.hostDir) / host_dirs.SPOOL
    try:
        disk, kubelet = host_namespaces.call(_look, spool, settings.agent.kubeletConfig)
    except (OSError, errors.Forbidden) as error:
        problem = f"the spool's disk cannot be seen as the host sees it: {error}"
        try:
            disk, kubelet = _look(spool, settings.agent.kubeletConfig)
        except OSError:
            text = f"captures leave {room.KEEP_PERCENT} % of the spool's disk free"
            return Reserve(None, None, text, (problem,))
        kubelet = dataclasses.replace(kubelet, problems=(problem, *kubelet.problems))
    return decide(settings.policy, disk, kubelet)


def decide(
    policy: sections.PolicySettings, disk: os.statvfs_result, kubelet: configuration.Thresholds
) -> Reserve:
    """The reserve on `disk` by the policy, or by the kubelet's thresholds. Pure."""
    total = disk.f_blocks * disk.f_frsize
    reasons = []
    if policy.spoolKeepFree is None:
        size = max(room.KEEP_BYTES, eviction.keep(kubelet.thresholds, total))
        reasons.append(kubelet.source)
    else:
        size = _number(policy.spoolKeepFree, total)
        reasons.append("policy.spoolKeepFree")
    if policy.spoolKeepFreeInodes is None:
        inodes = eviction.keep(kubelet.thresholds, disk.f_files, inodes=True)
    else:
        inodes = _number(policy.spoolKeepFreeInodes, disk.f_files)
        reasons.append("policy.spoolKeepFreeInodes")
    text = (
        f"captures leave {units.format_quantity(size)} of the spool's disk of"
        f" {units.format_quantity(total)} free, and {inodes} of its {disk.f_files} inodes"
        f" ({', '.join(reasons)})"
    )
    return Reserve(size, inodes, text, kubelet.problems)


class Monitor:
    """Looks from time to time: disks grow, and kubelets are configured anew."""

    def __init__(self, settings: sections.Settings) -> None:
        """Look for the first time. Blocks."""
        self._settings = settings
        self.reserve = look(settings)
        self.reserve.log()

    async def changes(self) -> AsyncIterator[sections.PolicySettings]:
        """The policy, each time that it differs from the last one."""
        while True:
            await asyncio.sleep(CHECK_EVERY_S)
            reserve = await aiokit.call(look, self._settings)
            if reserve != self.reserve:
                reserve.log()
                self.reserve = reserve
                yield reserve.settle(self._settings.policy)


def _look(spool: Path, setting: str | None) -> tuple[os.statvfs_result, configuration.Thresholds]:
    return os.statvfs(spool), configuration.read(setting)


def _number(amount: int | str, total: int) -> int:
    """Of `total`, what a setting asks for: a number, or a percentage such as "20%"."""
    return amount if isinstance(amount, int) else int(total * float(amount.rstrip("%")) / 100)
