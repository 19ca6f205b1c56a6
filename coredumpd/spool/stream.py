"""The core as the kernel sends it: a pipe or a socket, read in chunks until a deadline.

It is one of the sources that a `copier.Copier` copies from; handler/memory has the other one.

Tested in: tests/unit/spool/test_copier.py
"""

from __future__ import annotations

import os
import select
import time

from coredumpd.elfcore import prologue as prologues

# Why a capture ended before the core did; `core.truncated.reason` in the record.
EMPTY = "the kernel sent nothing"
MAX_SIZE = "larger than maxSize"
TIMEOUT = "captureTimeout passed"
SHORT = "the stream ended before the size its headers state"

AHEAD_BYTES = 64 * 1024


class CutError(Exception):
    """The core ends before this chunk; the text is the reason."""


class Chunk:
    """Bytes of the core that are in the buffer: from `offset` of the core on, `size` of them."""

    __slots__ = ("offset", "size")
    is_zeros = False  # for sure, without a look at the bytes

    def __init__(self, offset: int, size: int) -> None:
        self.offset = offset
        self.size = size


class Stream:
    """Takes chunk after chunk; one thread at a time. Closes nothing."""

    from_memory = False
    threads_max = 2  # a third one only waits for the kernel, which has one

    def __init__(self, source: int, first: bytes, deadline: float) -> None:
        """`first`: what was read of `source` already; `deadline` is monotonic time."""
        self._source = source
        self._pending = first
        self._examined = False  # has the prologue had `first`?
        self.deadline = deadline
        self.position = 0  # bytes of the core that were taken
        self.reason: str | None = None  # why it ended before the core did
        self.ended = False  # nothing more is to be taken
        self.prologue = prologues.Prologue()

    @property
    def size(self) -> int:
        """Bytes of the core as far as it is known: those that came."""
        return self.position

    def take(self, buffer: memoryview, room: int) -> Chunk | None:
        """Fill `buffer` with at most `room` bytes of core; None when nothing is left.

        If there are more than `room`, that is the end, and the reason is MAX_SIZE.
        """
        filled = self.fill(buffer)
        if filled > room:
            filled, self.ended, self.reason = room, True, MAX_SIZE
        if not filled:
            return None
        self.position += filled
        return Chunk(self.position - filled, filled)

    def read(self, chunk: Chunk, buffer: memoryview) -> None:
        """Nothing: `take` has done it."""

    def look_ahead(self) -> None:
        """Read until the prologue has all it wants; `take` gives those bytes afterwards."""
        self._examine_first()
        ahead = bytearray(self._pending)
        piece = bytearray(AHEAD_BYTES)
        while self.prologue.wants_more and (count := self._receive(memoryview(piece))):
            ahead += memoryview(piece)[:count]
        self._pending = bytes(ahead)

    def fill(self, buffer: memoryview) -> int:
        """Read until `buffer` is full or the stream ends: how far it is filled."""
        self._examine_first()
        first = self._pending[: len(buffer)]
        filled = len(first)
        buffer[:filled] = first
        self._pending = self._pending[filled:]
        while filled < len(buffer) and (count := self._receive(buffer[filled:])):
            filled += count
        return filled

    def _examine_first(self) -> None:
        if not self._examined:
            self._examined = True
            self.prologue.feed(self._pending)

    def _receive(self, buffer: memoryview) -> int:
        """Put what the kernel has ready into `buffer`: how many bytes; 0: the stream has ended."""
        if self.ended:
            return 0
        poll = select.poll()
        poll.register(self._source, select.POLLIN)
        left_s = self.deadline - time.monotonic()
        if left_s <= 0 or not poll.poll(left_s * 1000):
            self.ended, self.reason = True, TIMEOUT
            return 0
        try:
            count = os.readv(self._source, [buffer])
        except OSError as error:  # a socket's peer can go away; a pipe's cannot
            self.ended, self.reason = True, f"the stream failed: {error.strerror}"
            return 0
        self.ended = self.ended or count == 0
        if self.prologue.wants_more:
            self.prologue.feed(buffer[:count])
        return count

    def finish(self) -> str | None:
        """Nothing more is taken: why the core is cut; None: it is whole."""
        if self.reason is None and self.position == 0:
            return EMPTY
        if self.reason is None and self.prologue.is_cut(self.position):
            return SHORT
        return self.reason
