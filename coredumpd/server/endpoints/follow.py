"""Follows an engine's watch: pushes its changes into the watch cache, and counts what there is.

One thread, which goes on whatever the engine does; client-go calls this a reflector.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import Callable, Sequence

from coredumpd import errors
from coredumpd.apiserver.rest import watch_cache
from coredumpd.objects import compaction, interface
from coredumpd.server.endpoints import codec, usage

_WAIT_S = 1.0
_RETRY_S = 1.0
_PAGE_BYTES = 1024 * 1024
_log = logging.getLogger(__name__)


class Follower:
    """Runs from `start` to `stop`. The cache is only touched on the loop that started it."""

    def __init__(
        self,
        engine: interface.Engine,
        prefix: str,
        cache: watch_cache.WatchCache,
        used: usage.Usage,
        history_bytes_max: int,
    ) -> None:
        self._engine = engine
        self._prefix = prefix
        self._cache = cache
        self._usage = used
        self._history = compaction.History(history_bytes_max)
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
            counted = self._count(revision)
            self._history.begin(revision)
            self._call(lambda: self._usage.start(counted, revision))
            self._call(lambda: self._cache.start(revision))
            while not self._stopped.is_set():
                try:
                    events = watch.next(_WAIT_S)
                except errors.Unavailable as error:
                    _log.warning("changes are late: %s", error)
                    self._stopped.wait(_RETRY_S)
                    continue
                self._push(events, watch.revision)
                self._bound_history(events)

    def _push(self, events: Sequence[interface.Event], revision: int) -> None:
        new, amounts = changes(events), differences(events)

        def push() -> None:
            self._usage.follow(amounts)
            self._usage.advance(revision)
            self._cache.push(new)
            self._cache.advance(revision)  # so that bookmarks keep up with compaction

        if events or revision > self._cache.latest:
            self._call(push)

    def _count(self, revision: int) -> dict[str, usage.Amount]:
        """Objects and bytes of each namespace as of `revision`."""
        counted: dict[str, usage.Amount] = {}
        after, more = "", True
        while more and not self._stopped.is_set():
            page = self._engine.list(
                self._prefix, after=after, revision=revision, size_max=_PAGE_BYTES
            )
            for item in page.items:
                amount = counted.setdefault(codec.namespace_of(item.key), usage.Amount())
                amount.add(usage.Amount(1, len(item.value)))
                after = item.key
            more = page.more
        return counted

    def _bound_history(self, events: Sequence[interface.Event]) -> None:
        for event in events:
            revision = self._history.add(len(event.value), event.revision)
            if revision:
                _log.info("much is being written: history below %d is dropped early", revision)
                self._engine.compact(revision)

    def _call(self, function: Callable[[], None]) -> None:
        """Call it on the loop, and wait for it: a loop that is busy is not given more to hold."""
        done = threading.Event()

        def call() -> None:
            try:
                function()
            finally:
                done.set()

        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: this process ends
                self._loop.call_soon_threadsafe(call)
                while not done.wait(_WAIT_S) and not self._stopped.is_set():
                    continue


def differences(events: Sequence[interface.Event]) -> list[usage.Difference]:
    """By how much engine events change what a namespace has."""
    signs = {"ADDED": 1, "MODIFIED": 0, "DELETED": -1}
    return [
        usage.Difference(
            codec.namespace_of(event.key),
            usage.Amount(
                signs[event.kind],
                (0 if event.kind == "DELETED" else len(event.value)) - len(event.previous or b""),
            ),
            event.revision,
            len(event.value),
        )
        for event in events
    ]


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
