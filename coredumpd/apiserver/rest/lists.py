"""A list as an answer, in pages: no more of it is in memory than the page that is being sent."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from typing import Any

from coredumpd import errors
from coredumpd.apiserver.auth import tenants
from coredumpd.apiserver.http import handler as handlers
from coredumpd.apiserver.rest import outgoing

PAGE_BYTES = 256 * 1024  # a page ends behind the object with which it has so many
ROOM_BYTES = 3 * PAGE_BYTES  # of a page: its objects, of which the last may be large
_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Page:
    """Some objects of a list. The `meta` of the last page is that of the whole list."""

    objects: Sequence[dict[str, Any]]
    meta: Mapping[str, Any]
    last: bool


Pages = AsyncGenerator[Page, None]
# (objects, the list's metadata) → the list as the client wants it.
Shape = Callable[[Sequence[dict[str, Any]], Mapping[str, Any]], Mapping[str, Any]]


async def send(
    handler: handlers.Handler,
    pages: Pages,
    shape: Shape,
    field: str,
    room: outgoing.Outgoing,
) -> None:
    """Answer with `pages`; `field` is where `shape` puts the objects.

    Errors of the first page are raised. After that, an error cuts the connection, so that nobody
    takes a part for the whole.
    """
    holder = tenants.tenant(handler.caller) if handler.caller else ""
    writer = _Writer(handler, field)
    try:
        async with contextlib.aclosing(pages):
            while not writer.complete:
                async with room.room(holder, ROOM_BYTES, handler.cut):
                    page = await anext(pages)
                    writer.write(shape(page.objects, page.meta), last=page.last)
                    await handler.flush()
        handler.finish()
    except handlers.ClientGone:
        handler.outcome = "aborted"  # the client left, or read so slowly that it was cut
    except errors.CoredumpdError as error:
        if not writer.begun:
            raise
        _log.warning("auditID %s: the list is cut: %s", handler.audit_id, error)
        handler.abort()


class _Writer:
    """Writes the pages of a list, one object at a time, with the list's metadata at the end."""

    def __init__(self, handler: handlers.Handler, field: str) -> None:
        self._handler = handler
        self._field = field
        self._separator = ""
        self.begun = False
        self.complete = False

    def write(self, document: Mapping[str, Any], *, last: bool) -> None:
        """Write one page, a list of its own; of an answer of one page, the length is known."""
        pieces = []
        if not self.begun:
            own = (self._field, "metadata")
            head = {key: value for key, value in document.items() if key not in own}
            pieces.append(f'{_dumped(head)[:-1]},"{self._field}":['.encode())
        for obj in document[self._field]:
            pieces.append(f"{self._separator}{_dumped(obj)}".encode())
            self._separator = ","
        if last:
            pieces.append(f'],"metadata":{_dumped(document["metadata"])}}}\n'.encode())
        if not self.begun:
            self._handler.set_header("Content-Type", "application/json")
            if last:
                self._handler.set_header("Content-Length", str(sum(map(len, pieces))))
        for piece in pieces:
            self._handler.write(piece)
            self._handler.sent_bytes += len(piece)
        self.begun, self.complete = True, last


def _dumped(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))
