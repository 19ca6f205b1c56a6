"""A request's body as a file: the event loop fills it, a thread reads it."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import io

_PIECES_WAITING_MAX = 4
_READ_S_MAX = 120.0  # an agent that sends nothing for so long has gone


class Flow(io.RawIOBase):
    """What the loop receives and a thread reads: a file, once, from its start."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._loop = loop
        self._pieces: asyncio.Queue[bytes | None] = asyncio.Queue(_PIECES_WAITING_MAX)
        self._rest = b""
        self._over = False
        self._broken = False

    async def put(self, piece: bytes) -> None:
        """Waits while the thread has enough to do."""
        if piece:
            await self._pieces.put(piece)

    async def end(self) -> None:
        """There is no more."""
        await self._pieces.put(b"")

    def cut(self) -> None:
        """There will be no more, though there should. On the loop."""
        self._broken = True
        with contextlib.suppress(asyncio.QueueFull):  # then the reader finds `_broken` set
            self._pieces.put_nowait(None)

    def tell(self) -> int:
        """As io.IOBase.tell; only its start can ever be asked for."""
        return 0

    def seek(self, offset: int, whence: int = 0) -> int:  # noqa: ARG002
        """What has flowed by does not come back: the agent sends it again."""
        raise OSError("an upload cannot be read twice")

    def read(self, size: int = -1) -> bytes:
        """In a thread. Raises OSError when the agent has gone."""
        if not self._rest and not self._over:
            self._rest = self._next()
        piece, self._rest = (
            (self._rest, b"") if size < 0 else (self._rest[:size], self._rest[size:])
        )
        return piece

    def _next(self) -> bytes:
        if self._broken:
            raise OSError("the agent has gone in the middle of its dump")
        asked = asyncio.run_coroutine_threadsafe(self._pieces.get(), self._loop)
        try:
            piece = asked.result(_READ_S_MAX)
        except concurrent.futures.TimeoutError:
            asked.cancel()
            piece = None
        if piece is None:
            raise OSError("the agent has gone in the middle of its dump")
        self._over = not piece
        return piece
