"""Compaction of history, as kube-apiserver does it: each tick forgets what the last one saw.

One of the replicas rewrites a mark at every tick; the mark's revision is that of the last tick.
No clocks are compared, and a restart loses nothing
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
_STOP_S = 30.0  # a request to etcd takes no longer
_log = logging.getLogger(__name__)


def tick(engine: interface.Engine, last_revision: int) -> int:
    """Compact, unless another replica did since the last tick, which returned `last_revision`.

    Returns the `last_revision` of the next tick; the first one takes 0. History is kept for one to
    two intervals.
    """
    mark = engine.get(MARK)
    try:
        if mark is None:
            return engine.create(MARK, b"")
        if mark.revision != last_revision:
            return mark.revision
        revision = engine.update(MARK, b"", last_revision)
    except (errors.AlreadyExists, errors.Conflict):
        return 0  # another replica was quicker; the next tick looks again
    engine.compact(last_revision)
    return revision


class History:
    """Finds when the history has grown too large before the next tick. Pure.

    Values of earlier states are kept until they are compacted; a tenant who writes large objects
    again and again would fill the disk in between. `bytes_max` is of all that is kept.
    """

    def __init__(self, bytes_max: int) -> None:
        self._half = bytes_max // 2
        self._size = 0
        self._mark = 0

    def begin(self, revision: int) -> None:
        """Writes follow that are above `revision`; how many came before is not known."""
        self._mark, self._size = revision, 0

    def add(self, size: int, revision: int) -> int:
        """A write of `size` bytes; returns the revision to compact to, or 0."""
        self._size += size
        if self._size < self._half:
            return 0
        mark, self._mark, self._size = self._mark, revision, 0
        return mark


class Compactor:
    """Ticks until it is closed. If the engine does not answer, the next tick tries again."""

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
        revision = 0
        while True:
            try:
                revision = tick(self._engine, revision)
            except errors.CoredumpdError as error:
                _log.warning("old revisions of objects are kept for now: %s", error)
            if self._stop.wait(self._interval_s):
                return
