"""The node's capture, either owned by the agent or left alone (`--no-core-pattern`).

Tested in: tests/integration/agent/test_core_pattern.py
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any, Protocol

from coredumpd.agent import tally
from coredumpd.agent.node import capture_socket, drift, install, sysctls
from coredumpd.formats import host_dir as host_dirs
from coredumpd.settings import sections

CLEAN_EVERY_S = 600.0
_log = logging.getLogger(__name__)
Job = Callable[[], Coroutine[Any, Any, None]]


class Ownership(Protocol):
    """The node's part of a daemon's life, in the order of its methods."""

    async def start(self) -> None:
        """Set core_pattern. Raises what the kernel refused."""

    @property
    def jobs(self) -> Mapping[str, Job]:
        """Jobs by name, each to be run for ever."""

    def problems(self) -> list[str]:
        """Reasons for which /healthz fails."""

    async def stop(self) -> None:
        """Let capture go on without this agent."""

    async def leave(self, is_end: Callable[[], Awaitable[bool]]) -> None:
        """Undo everything if this is the end of the installation."""


class NoOwnership:
    """Leaves the kernel and the handler alone."""

    jobs: Mapping[str, Job] = {}

    async def start(self) -> None:
        """Do nothing."""

    def problems(self) -> list[str]:
        return []

    async def stop(self) -> None:
        """Do nothing."""

    async def leave(self, is_end: Callable[[], Awaitable[bool]]) -> None:
        """Do nothing."""


class OwnNode:
    """The installed handler, core_pattern under guard, and the capture socket if it is enabled."""

    def __init__(
        self,
        host_dir: Path,
        agent: sections.AgentSettings,
        counters: tally.Tally,
        event_writer: tally.NodeEvents,
    ) -> None:
        """Install the handler. Raises StorageError; SettingsError where sockets cannot capture."""
        self._host_dir = host_dir
        self._sysctls = sysctls.from_settings(host_dir, agent, install.install(host_dir))
        self._drift = drift.Monitor(self._sysctls, counters, event_writer)
        self.jobs: dict[str, Job] = {"drift": self._drift.run, "clean": self._clean}
        self._sockets: list[capture_socket.CaptureSocket] = []
        if agent.capture == "socket":
            capture_socket.require(host_dir)
            listener = capture_socket.CaptureSocket(
                host_dir, self._sysctls, agent.corePipeLimit, counters
            )
            self._sockets.append(listener)
            self.jobs["listen"] = listener.run

    async def start(self) -> None:
        """Save the original settings, set ours, start the listener."""
        self._sysctls.save_original()
        self._sysctls.apply()
        _log.info("core_pattern is %s", self._sysctls.pattern)
        for one in self._sockets:
            await one.start()

    def problems(self) -> list[str]:
        return [] if self._drift.ours else ["core_pattern is not ours"]

    async def stop(self) -> None:
        """Return to the pipe handler, which captures without an agent."""
        for one in self._sockets:
            await one.stop()

    async def leave(self, is_end: Callable[[], Awaitable[bool]]) -> None:
        """Restore core_pattern and remove the handler if this is the end of the installation."""
        if not await is_end():
            _log.info("the handler stays in place and captures until the next agent comes")
            return
        _log.info("%s", self._sysctls.restore())
        remaining = install.remove_all(self._host_dir)
        if remaining:
            spool = self._host_dir / host_dirs.SPOOL
            _log.warning("%d unshipped dumps stay in %s", len(remaining), spool)

    async def _clean(self) -> None:
        while True:
            for version in install.remove_old(self._host_dir):
                _log.info("removed the old handler version %s", version)
            await asyncio.sleep(CLEAN_EVERY_S)
