"""Forgetting history, as kube-apiserver does: at every tick, all that was before the last tick.

A mark is rewritten at every tick by one of the replicas: its revision is that of the tick before.
No clock is compared, and a restart forgets nothing
(the idea: k8s.io/apiserver/pkg/storage/etcd3/compact.go). Runs in a thread of its own.

Tested in: tests/contract/objects/test_compaction.py
"""

from __future__ import annotations

import logging
import threading

from coredumpd import errors
from coredumpd.objects import interface

MARK = "/compaction"
INTERVAL_S = 300.0  # kube-apiserver's --etcd-compaction-interval
_STOP_S = 30.0  # no longer than a request to etcd may take
_log = logging.getLogger(__name__)


def tick(engine: interface.Engine, seen: int) -> int:
    """Compact, if no other replica has done it since `seen`, which the last tick returned.

    Returns what to pass an interval later; begin with 0. History is kept for one to two intervals.
    """
    mark = engine.get(MARK)
    try:
        if mark is None:
            return engine.create(MARK, b"")
        if mark.revision != seen:
            return mark.revision
        now = engine.update(MARK, b"", seen)
    except (errors.AlreadyExists, errors.Conflict):
        return 0  # another replica was quicker; the next tick looks again
    engine.compact(seen)
    return now


class Compactor:
    """Ticks until closed. An engine that does not answer is tried again at the next tick."""

    def __init__(self, engine: interface.Engine, interval_s: float = INTERVAL_S) -> None:
        self._engine = engine
        self._interval_s = interval_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="compactor", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop, before the engine is closed."""
        self._stop.set()
        self._thread.join(_STOP_S)

    def _run(self) -> None:
        seen = 0
        while True:
            try:
                seen = tick(self._engine, seen)
            except errors.CoredumpdError as error:
                _log.warning("old revisions of objects are kept for now: %s", error)
            if self._stop.wait(self._interval_s):
                return
