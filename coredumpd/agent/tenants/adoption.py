"""The guard adopts the tenants' rules that the shipper wrote; the settings are the guard's own.

The handler, which the kernel runs as root, obeys a policy that only the guard can write. Of the
shipper's file the guard takes the rules of namespaces and pods, and nothing else: no path and no
limit. A file that is too long, or that the handler would refuse, leaves the last policy in force.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import os
from pathlib import Path

from coredumpd import aiokit, durable, errors
from coredumpd.agent.tenants import policy_file
from coredumpd.formats import host_dir as host_dirs
from coredumpd.formats import policy
from coredumpd.settings import sections

CHECK_EVERY_S = 0.25
# Of a cluster of 10,000 namespaces, each with rules of its own, there are 60,000.
VALUES_MAX = 200_000
_log = logging.getLogger(__name__)


class Adoption:
    """Follows `<hostDir>/shipper/policy.json`; writes `<hostDir>/policy.json`."""

    def __init__(self, host_dir: Path, settings: sections.PolicySettings, node: str) -> None:
        self._host_dir = host_dir
        self.settings = settings  # may be replaced: the next check writes them
        self._node = node
        self._written = settings
        self._seen: object = None
        self._problem: str | None = None

    def problems(self) -> list[str]:
        """Why the policy in force is an old one."""
        return [] if self._problem is None else [self._problem]

    async def run(self) -> None:
        """Follow for ever."""
        while True:
            await self.check()
            await asyncio.sleep(CHECK_EVERY_S)

    async def check(self) -> None:
        """Adopt the shipper's file if it has changed. A refusal is a problem until the next one."""
        if self.settings != self._written:
            self._written, self._seen = self.settings, None
            await aiokit.call(policy_file.write, self._host_dir, self.settings, self._node)
        path = self._host_dir / host_dirs.SHIPPER / host_dirs.POLICY
        try:
            status = os.lstat(path)
        except OSError:
            return  # none yet: the rules that are in force stay
        seen = (status.st_ino, status.st_mtime_ns, status.st_size)
        if seen == self._seen:
            return
        self._seen = seen
        try:
            await aiokit.call(self._adopt)
        except (errors.CoredumpdError, OSError) as error:
            self._problem = f"the shipper's policy is refused, the last one stays: {error}"
            _log.error("%s", self._problem)
        else:
            self._problem = None

    def _adopt(self) -> None:
        tenants = policy.parse_tenants(self._read())
        settings = dataclasses.asdict(self.settings)
        data = policy.encode(settings, self._node, tenants)
        if len(data) >= policy.POLICY_BYTES_MAX:
            raise errors.BadRecord(f"policy: must be shorter than {policy.POLICY_BYTES_MAX} bytes")
        policy.parse(data)  # raises BadRecord: the handler would not obey it
        policy_file.write(self._host_dir, self.settings, self._node, tenants)

    def _read(self) -> bytes:
        directory = os.open(self._host_dir / host_dirs.SHIPPER, durable.DIRECTORY)
        try:
            with os.fdopen(durable.open_regular(host_dirs.POLICY, directory), "rb") as file:
                data = file.read(policy.POLICY_BYTES_MAX + 1)
        finally:
            os.close(directory)
        if len(data) > policy.POLICY_BYTES_MAX:
            raise errors.BadRecord(f"policy: has more than {policy.POLICY_BYTES_MAX} bytes")
        # Each value costs some 100 bytes once it is parsed: the guard's memory is bounded, too.
        if sum(map(data.count, (b",", b"[", b"{"))) > VALUES_MAX:
            raise errors.BadRecord(f"policy: has more than {VALUES_MAX} values")
        return data
