"""A request's body as a file: the event loop fills it, a thread reads it."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import io

_PIECES_WAITING_MAX = 4
READ_TIMEOUT_S = 120.0  # an agent that sends nothing for this long has disconnected


class Flow(io.RawIOBase):
    """A file that the event loop fills and one thread reads, once and from its start."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, read_timeout_s: float = READ_TIMEOUT_S
    ) -> None:
        super().__init__()
        self._loop = loop
        self._read_timeout_s = read_timeout_s
        self._pieces: asyncio.Queue[bytes | None] = asyncio.Queue(_PIECES_WAITING_MAX)
        self._rest = b""
        self._over = False
        self._broken = False

    async def put(self, piece: bytes) -> None:
        """Append a piece; waits while the thread has pieces enough to read."""
        if piece:
            await self._pieces.put(piece)

    async def end(self) -> None:
        """The body is complete: the reader sees the end of the file."""
        await self._pieces.put(b"")

    def cut(self) -> None:
        """The body ended too early: the reader gets an OSError. Call it on the loop."""
        self._broken = True
        with contextlib.suppress(asyncio.QueueFull):  # then the reader finds `_broken` set
            self._pieces.put_nowait(None)

    def tell(self) -> int:
        """As io.IOBase.tell; only its start can ever be asked for."""
        return 0

    def seek(self, offset: int, whence: int = 0) -> int:  # noqa: ARG002
        """Always OSError: bytes that were read are gone, the agent has to send them again."""
        raise OSError("an upload cannot be read twice")

    def read(self, size: int = -1) -> bytes:
        """Call it in a thread. Raises OSError when the agent has disconnected."""
        if not self._rest and not self._over:
            self._rest = self._next()
        piece, self._rest = (
            (self._rest, b"") if size < 0 else (self._rest[:size], self._rest[size:])
        )
        return piece

    def _next(self) -> bytes:
        if self._broken:
            raise OSError("the agent disconnected before the end of its dump")
        next_piece = asyncio.run_coroutine_threadsafe(self._pieces.get(), self._loop)
        try:
            piece = next_piece.result(self._read_timeout_s)
        except concurrent.futures.TimeoutError:
            next_piece.cancel()
            piece = None
        if piece is None:
            raise OSError("the agent disconnected before the end of its dump")
        self._over = not piece
        return piece
