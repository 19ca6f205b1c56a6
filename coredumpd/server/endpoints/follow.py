"""Follows an engine's watch and pushes its changes into the watch cache.

One thread, which goes on whatever the engine does; client-go calls this a reflector.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import Sequence
from typing import Any

from coredumpd import errors
from coredumpd.apiserver.rest import watch_cache
from coredumpd.objects import interface
from coredumpd.server.endpoints import codec

_WAIT_S = 1.0
_RETRY_S = 1.0
_log = logging.getLogger(__name__)


class Follower:
    """Runs from `start` to `stop`. The cache is only touched on the loop that started it."""

    def __init__(
        self, engine: interface.Engine, prefix: str, cache: watch_cache.WatchCache
    ) -> None:
        self._engine = engine
        self._prefix = prefix
        self._cache = cache
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="follower", daemon=True)
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self) -> None:
        """Call on the event loop."""
        self._loop = asyncio.get_running_loop()
        self._thread.start()

    def stop(self) -> None:
        """Return when the thread has ended, after two seconds at most."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join(timeout=2 * _WAIT_S)

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                self._follow()
            except errors.Expired as error:
                _log.warning("watchers must list again: %s", error)
            except errors.CoredumpdError as error:
                _log.warning("changes are late: %s", error)
                self._stopped.wait(_RETRY_S)

    def _follow(self) -> None:
        revision = self._engine.revision()
        with contextlib.closing(self._engine.watch(self._prefix, revision)) as watch:
            self._call(self._cache.start, revision)
            while not self._stopped.is_set():
                try:
                    events = watch.next(_WAIT_S)
                except errors.Unavailable as error:
                    _log.warning("changes are late: %s", error)
                    self._stopped.wait(_RETRY_S)
                    continue
                if events:
                    self._call(self._cache.push, changes(events))
                elif watch.revision > revision:  # so that bookmarks keep up with compaction
                    self._call(self._cache.advance, watch.revision)
                revision = watch.revision

    def _call(self, function: Any, argument: Any) -> None:
        """Call it on the loop, and wait for it: a loop that is busy is not given more to hold."""
        done = threading.Event()

        def call() -> None:
            try:
                function(argument)
            finally:
                done.set()

        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: this process ends
                self._loop.call_soon_threadsafe(call)
                while not done.wait(_WAIT_S) and not self._stopped.is_set():
                    continue


def changes(events: Sequence[interface.Event]) -> list[watch_cache.Change]:
    """Engine events as changes of objects."""
    return [
        watch_cache.Change(
            event.kind,
            codec.decode(event.value, event.revision),
            None if event.previous is None else codec.decode(event.previous, event.revision),
            event.revision,
            sum(
                len(value) + watch_cache.OBJECT_BYTES
                for value in (event.value, event.previous)
                if value is not None
            ),
        )
        for event in events
    ]
