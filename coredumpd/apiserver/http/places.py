"""The places of one request, from its authentication until its answer is sent to the last byte.

They are given back when two things are over: the work, which may go on after a client has left, and
the sending, which may go on after the work is done. Either alone would let a client hold more than
its share: by leaving at once, or by reading slowly.

Tested in: tests/integration/server/test_shares.py
"""

from __future__ import annotations

from collections.abc import Callable, Hashable

from coredumpd.apiserver.auth import interface
from coredumpd.apiserver.http import connections, fairness


class Places:
    """The places of a request on `connection`. `end` is called if another caller needs one."""

    def __init__(
        self,
        fair: fairness.Fairness,
        open_: connections.Connections,
        connection: Hashable,
        end: Callable[[], None],
    ) -> None:
        self._fairness = fair
        self._connections = open_
        self._connection = connection
        self._end = end
        self._held: dict[fairness.Kind, fairness.Held] = {}
        self._is_worked_on = self._is_sent = True

    def hold(self, kind: fairness.Kind, caller: interface.Caller) -> None:
        """Take a place of `kind`, unless there is one already. Raises TooManyRequests."""
        if kind not in self._held:
            self._held[kind] = self._fairness.take(kind, caller, self._end)

    def release(self, kind: fairness.Kind) -> None:
        """Give the place of `kind` back now. May be called twice."""
        held = self._held.pop(kind, None)
        if held is not None:
            held.close()

    def keep_connection(self) -> None:
        """The request is authorized: its connection is closed for no newcomer from now on."""
        self._is_sent = not self._connections.occupy(self._connection, self._sent)

    def refuse(self) -> None:
        """The request is refused: only its body and the answer have still to pass."""
        self._give_back()
        self._connections.wait(self._connection)

    def done(self) -> None:
        """The work is over."""
        self._is_worked_on = False
        if self._is_sent:
            self._give_back()

    def _sent(self) -> None:
        self._is_sent = True
        if not self._is_worked_on:
            self._give_back()

    def _give_back(self) -> None:
        for kind in tuple(self._held):
            self.release(kind)
