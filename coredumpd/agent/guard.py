"""`coredumpd agent guard`: the privileged half, without network and without credentials.

It installs the handler, owns core_pattern, starts the listener of the capture socket, counts what
was skipped, and gives the handler its policy. What has to be said, the shipper says for it.

Tested in: tests/integration/agent/test_two_halves.py
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import tempfile
from pathlib import Path

from coredumpd.agent import jobs, tally
from coredumpd.agent.kubelet import room
from coredumpd.agent.node import cgroup_root, install, leftovers, lock, ownership, publisher
from coredumpd.agent.node.handlers_cgroup import make, plan
from coredumpd.agent.selftest import monitor
from coredumpd.agent.skipped import accounting
from coredumpd.agent.tenants import adoption, policy_file
from coredumpd.formats import host_dir as host_dirs
from coredumpd.settings import sections
from coredumpd.spool import entries

_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Options:
    """The command line's part of the configuration; the rest is in the settings."""

    node: str
    restore: bool = False
    own_kernel: bool = True


async def run(
    settings: sections.Settings,
    options: Options,
    stop: asyncio.Event,
    ready: asyncio.Event | None = None,
) -> None:
    """Guard the node until `stop`; sets `ready` once core_pattern is ours.

    Raises what prevents the start.
    """
    host_dir = Path(settings.agent.hostDir)
    install.prepare(host_dir)
    with await lock.acquire(host_dir / host_dirs.GUARD_LOCK, stop):
        settings = dataclasses.replace(settings, policy=cgroup_root.settle(settings.policy))
        for name in leftovers.clear(Path(tempfile.gettempdir())):
            _log.info("removed %s, which a killed process of this program had left", name)
        disk_room = room.Monitor(settings)
        settings = dataclasses.replace(settings, policy=disk_room.reserve.settle(settings.policy))
        policy_file.write(host_dir, settings.policy, options.node)
        guard = _Guard(settings, options, host_dir, disk_room)
        await guard.start()
        if ready is not None:
            ready.set()
        await jobs.run(guard.jobs, stop, guard.leave)


class _Guard:
    def __init__(
        self,
        settings: sections.Settings,
        options: Options,
        host_dir: Path,
        disk_room: room.Monitor,
    ) -> None:
        counters = tally.Tally()
        self._options = options
        self._cgroups = make.Keeper(host_dir, plan.limits(settings))
        self._publisher = publisher.Publisher(host_dir, counters, self._problems, self._notices)
        self._publisher.spool_keep_free = disk_room.reserve.size
        self._room = disk_room
        self._adoption = adoption.Adoption(host_dir, settings.policy, options.node)
        self.jobs: dict[str, jobs.Job] = {
            "publish": self._publisher.run,
            "adopt": self._adoption.run,
            "room": self._follow_room,
        }
        self._node: ownership.Ownership = ownership.NoOwnership()
        self._self_test: monitor.Monitor | None = None
        if options.own_kernel:
            node = ownership.OwnNode(host_dir, settings.agent, counters, self._publisher)
            self._node = node
            spool = entries.Spool(str(host_dir / host_dirs.SPOOL))
            accountant = accounting.Accountant(
                counters, self._publisher, spool, cgroup_root=settings.policy.cgroupRoot or "/"
            )
            self.jobs |= {"skips": accountant.run, "cgroups": self._cgroups.run}
            self._self_test = monitor.Monitor(
                host_dir, node, counters, self._publisher, accountant.expect
            )
            self.jobs["self-test"] = self._self_test.run
        self.jobs |= self._node.jobs

    def _problems(self) -> list[str]:
        tested = self._self_test.problems() if self._self_test is not None else []
        return self._node.problems() + tested + self._adoption.problems()

    def _notices(self) -> list[str]:
        tested = self._self_test.notices() if self._self_test is not None else []
        return tested + self._cgroups.notices()

    async def _follow_room(self) -> None:
        async for policy in self._room.changes():
            self._publisher.spool_keep_free = self._room.reserve.size
            self._adoption.settings = policy

    async def start(self) -> None:
        """Set core_pattern. Raises what the kernel refused."""
        if self._options.own_kernel:
            self._cgroups.settle()
        await self._node.start()
        _log.info("the guard of node %s is ready", self._options.node)

    async def leave(self) -> None:
        """Undo everything if this is the end of the installation, else let capture go on."""
        await self._node.stop()
        await self._node.leave(self._is_end)

    async def _is_end(self) -> bool:
        if self._options.restore:
            if self._publisher.is_heard:  # a shipper still works here
                await self._publisher.verdict()
            return True
        verdict = await self._publisher.verdict()
        if verdict is None:
            _log.warning("no word of the shipper whether this is an uninstallation")
        return verdict is True
