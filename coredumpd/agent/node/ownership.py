"""The node's capture, either owned by the agent or left alone (`--no-core-pattern`).

Tested in: tests/integration/agent/test_core_pattern.py
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable, Coroutine, Hashable, Mapping
from pathlib import Path
from typing import Any, Protocol

from coredumpd import errors
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
        self._agent = agent
        self._tally = counters
        self._sysctls = sysctls.from_settings(host_dir, agent, install.install(host_dir))
        self._drift = drift.Monitor(self._sysctls, counters, event_writer)
        self.jobs: dict[str, Job] = {"drift": self._drift.run, "clean": self._clean}
        self._sockets: list[capture_socket.CaptureSocket] = []
        self._listening = asyncio.Event()  # `switch` has started a listener
        if agent.capture == "socket":
            listener = self._new_socket()
            self._sockets.append(listener)
            self.jobs["listen"] = listener.run
        elif self.is_free:
            self.jobs["listen"] = self._attend

    async def start(self) -> None:
        """Save the original settings, set ours, start the listener."""
        self._sysctls.save_original()
        self._sysctls.apply()
        _log.info("core_pattern is %s", self._sysctls.pattern)
        for one in self._sockets:
            await one.start()

    def _new_socket(self) -> capture_socket.CaptureSocket:
        capture_socket.require(self._host_dir)
        workers = self._agent.corePipeLimit
        return capture_socket.CaptureSocket(self._host_dir, self._sysctls, workers, self._tally)

    @property
    def mode(self) -> str:
        """How the kernel is to hand over a core: `pipe` or `socket`."""
        return "socket" if self._sysctls.pattern.startswith("@") else "pipe"

    def state(self) -> Hashable:
        """Equal for as long as core_pattern and the handler's file are the same; None: not ours."""
        try:
            if self._sysctls.drift():
                return None
        except errors.CoredumpdError:
            return None
        try:
            launcher = os.stat(self._host_dir / host_dirs.CURRENT_LAUNCHER)
            file = (launcher.st_dev, launcher.st_ino, launcher.st_mtime_ns, launcher.st_mode)
        except OSError:
            file = None
        return self._sysctls.pattern, file

    @property
    def is_free(self) -> bool:
        """May the mode be chosen?"""
        return self._agent.capture == "auto"

    async def switch(self) -> None:
        """Capture by the other mode, where that is allowed. Raises CoredumpdError: then by pipe."""
        if self._sockets:
            await self._sockets.pop().stop()
            return
        listener = self._new_socket()
        try:
            await listener.start()
        except errors.CoredumpdError:
            await listener.stop()
            raise
        self._sockets.append(listener)
        self._listening.set()

    async def _attend(self) -> None:
        """Run each listener that `switch` starts, until it is stopped."""
        while True:
            await self._listening.wait()
            self._listening.clear()
            for listener in list(self._sockets):
                attendance = asyncio.create_task(listener.run(), name="listener")
                await asyncio.wait([attendance])
                if not attendance.cancelled():
                    attendance.result()  # raises what broke it

    def problems(self) -> list[str]:
        return [] if self._drift.ours else [self._drift.problem]

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
