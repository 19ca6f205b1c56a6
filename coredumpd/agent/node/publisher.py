"""The guard's side of the words between guard and shipper: publishes the status, reads the reply.

Runs on the event loop; both files are small. The shipper's directory is another's: what is in it is
opened without following links, and its size is bounded.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import Callable
from pathlib import Path

from coredumpd import durable, errors
from coredumpd.agent import tally
from coredumpd.formats import guard_status
from coredumpd.formats import host_dir as host_dirs

PUBLISH_EVERY_S = 0.25
BEAT_EVERY_S = 2.0
VERDICT_S = 20.0  # the pod's grace period is 30 s, and the shipper finishes its commits first
_log = logging.getLogger(__name__)


class Publisher:
    """A `tally.NodeEvents` that hands Events to the shipper; also counters and problems."""

    def __init__(
        self,
        host_dir: Path,
        counters: tally.Tally,
        problems: Callable[[], list[str]],
        notices: Callable[[], list[str]] = list[str],
    ) -> None:
        """`problems`: reasons for which the guard is not well; `notices`: for which it still is."""
        self._directory = host_dir / host_dirs.GUARD
        self._replies = host_dir / host_dirs.SHIPPER
        self.spool_keep_free: int | None = None
        self._tally = counters
        self._problems = problems
        self._notices = notices
        self._guard = os.urandom(8).hex()
        self._events: list[guard_status.Event] = []
        self._number = 0  # of the latest event
        self._published = 0  # an event that the shipper may have read does not change
        self._leaving = False
        self._last = b""
        self._beat_s = 0.0
        self._problem = ""

    async def run(self) -> None:
        """Publish for ever."""
        while True:
            self.publish()
            await asyncio.sleep(PUBLISH_EVERY_S)

    async def node(self, reason: str, message: str) -> None:
        """Hand over one Event. The newest of too many is dropped, and logged."""
        message = message[: guard_status.TEXT_CHARS_MAX]
        for index, event in enumerate(self._events):
            same = (event.reason, event.message) == (reason, message)
            if same and event.number > self._published:
                count = event.count + 1
                self._events[index] = guard_status.Event(event.number, reason, message, count)
                return
        if len(self._events) >= guard_status.EVENTS_MAX:
            _log.warning("the shipper reports no Events; dropped: %s: %s", reason, message)
            return
        self._number += 1
        self._events.append(guard_status.Event(self._number, reason, message))

    def publish(self) -> None:
        """Write the status if it has changed, else touch it from time to time. Never raises."""
        reply = self._reply()
        if reply is not None:
            self._events = [event for event in self._events if event.number > reply.event]
        data = guard_status.Status(
            guard=self._guard,
            problems=tuple(self._problems()),
            notices=tuple(self._notices()),
            counters={name: counter.values for name, counter in self._tally.counters().items()},
            events=tuple(self._events),
            losses=self._tally.losses.latest(),
            pattern_ours=self._tally.pattern_ours,
            leaving=self._leaving,
            self_test=self._tally.self_test,
            spool_keep_free=self.spool_keep_free,
        ).encode()
        now_s = time.monotonic()
        if data == self._last and now_s - self._beat_s < BEAT_EVERY_S:
            return
        try:
            self._write(data)
        except OSError as error:
            self._log_once(f"the guard's status cannot be written: {error.strerror}")
            return
        self._last, self._beat_s, self._published = data, now_s, self._number

    def _write(self, data: bytes) -> None:
        if data == self._last:
            os.utime(self._directory / host_dirs.GUARD_STATUS)
            return
        directory = os.open(self._directory, durable.DIRECTORY)
        try:
            durable.write_whole_at(host_dirs.GUARD_STATUS, directory, data, sync=False)
        finally:
            os.close(directory)

    async def verdict(self, wait_s: float = VERDICT_S) -> bool | None:
        """Does the shipper say that the installation is over? None: no word within `wait_s`."""
        self._leaving = True
        with contextlib.suppress(TimeoutError):  # no word is a result
            async with asyncio.timeout(wait_s):
                while True:
                    self.publish()
                    reply = self._reply()
                    if reply is not None and reply.ended is not None:
                        return reply.ended
                    await asyncio.sleep(PUBLISH_EVERY_S)
        return None

    @property
    def is_heard(self) -> bool:
        """Has a shipper replied to this guard?"""
        return self._reply() is not None

    def _reply(self) -> guard_status.Reply | None:
        """The shipper's reply to this run of the guard."""
        try:
            reply = guard_status.Reply.parse(_read(self._replies, host_dirs.SHIPPER_REPLY))
        except FileNotFoundError:
            return None
        except (errors.BadRecord, OSError) as error:
            self._log_once(f"the shipper's reply is not readable: {error}")
            return None
        return reply if reply.guard == self._guard else None

    def _log_once(self, problem: str) -> None:
        if problem != self._problem:
            _log.warning("%s", problem)
        self._problem = problem


def _read(directory: Path, name: str) -> bytes:
    descriptor = os.open(directory, durable.DIRECTORY)
    try:
        with os.fdopen(durable.open_regular(name, descriptor), "rb") as file:
            return file.read(guard_status.REPLY_BYTES_MAX + 1)
    finally:
        os.close(descriptor)
