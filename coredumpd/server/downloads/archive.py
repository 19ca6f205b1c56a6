"""`…/dump` and `…/proxy`: the archive, streamed. One chunk in memory, reads off the loop.

gzip is the content's type, never its encoding: kube-apiserver and Go clients would undo the latter.

Tested in: tests/integration/server/test_downloads.py
"""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import logging
from collections.abc import Callable, Iterator
from typing import Protocol

from coredumpd import errors
from coredumpd.apiserver.auth import rights
from coredumpd.apiserver.http import application, fairness, handler
from coredumpd.apiserver.machinery import kind as machinery_kind
from coredumpd.apiserver.machinery import options, pace
from coredumpd.archive import stream
from coredumpd.server import kinds
from coredumpd.server.downloads import ranges
from coredumpd.server.dumps import inventory

MEDIA_TYPE = "application/gzip"
_LENGTH_MAX = 2**63 - 1
_CHECKS_PER_WINDOW = 4
_PIECE_BYTES = 128 * 1024  # at a time, so that a slow client is seen to read
# `timeout` and `pretty` may be added by kubectl and proxies; everything else would be a typo, and
# a typo must not download another dump than the one meant.
_PARAMETERS = ("container", "id", "offset", "sparse", "timeout", "pretty")
_log = logging.getLogger(__name__)


class Dumps(Protocol):
    """Objects whose dumps can be downloaded by their name; see `endpoints.Endpoints.dumps`."""

    kind: machinery_kind.Kind

    async def dumps(
        self, namespace: str, name: str, container: str | None, id: str | None
    ) -> tuple[str, inventory.Dumps]: ...


@dataclasses.dataclass(frozen=True)
class Pacing:
    """Bytes per second that a client must read on average over a window of seconds.

    `count_slow`: called for each download that is cut because its client reads more slowly.
    """

    bytes_per_s: int = 64 * 1024
    window_s: float = 60.0
    count_slow: Callable[[], None] = lambda: None


class Download(handler.Handler):
    """GET and HEAD of an archive."""

    audited = True
    share: fairness.Kind | None = "download"

    def initialize(  # type: ignore[override]
        self,
        rights: rights.Rights,
        resource: Dumps,
        inventory: inventory.Inventory,
        pacing: Pacing,
    ) -> None:
        """Tornado's; the arguments come from the route."""
        self.resource = resource
        self._pacing = pacing
        self.inventory = inventory
        super().initialize(rights)

    async def get(self, namespace: str, name: str) -> None:
        """The archive, or part of it."""
        container, id, offset, holes = self._parameters()
        _, dumps = await self.resource.dumps(namespace, name, container, id)
        store = await self.inventory.own(namespace)
        plan = functools.partial(inventory.plan, holes=holes)
        archive = await self.inventory.run(plan, store, dumps)
        reply = ranges.decide(self.request.headers, offset, archive.length, archive.etag)
        chunks = stream.read(archive, store.open_core, reply.first, reply.end)
        await self.reply(reply, MEDIA_TYPE, f"{name}.tar.gz", chunks)

    head = get

    async def reply(
        self, reply: ranges.Reply, media_type: str, file_name: str, chunks: Iterator[bytes]
    ) -> None:
        """Answer with `chunks`, the bytes that `reply` selects; an empty one sends nothing."""
        self.set_status(reply.code)
        self.set_header("Content-Type", media_type)
        self.set_header("Content-Disposition", f'attachment; filename="{file_name}"')
        for header, value in reply.headers.items():
            self.set_header(header, value)
        if self.request.method == "HEAD" or reply.code == 304:
            self.finish()
            return
        await self._send(chunks)

    async def _send(self, chunks: Iterator[bytes]) -> None:
        limits = self._pacing
        reading = pace.Pace(limits.bytes_per_s, limits.window_s)
        watch = asyncio.create_task(self._watch_pace(reading), name=f"pace {self.audit_id}")
        try:
            await self.flush()  # the headers go out before the store is read
            while (chunk := await self.inventory.run(next, chunks, None)) is not None:
                for start in range(0, len(chunk), _PIECE_BYTES):
                    piece = chunk[start : start + _PIECE_BYTES]
                    self.write(piece)
                    reading.waits()
                    await self.flush()
                    reading.receives(len(piece))
                    self.sent_bytes += len(piece)
        except handler.ClientGone:
            self.outcome = "aborted"  # the client left, nobody reads an error
        except (errors.CoredumpdError, OSError) as error:
            _log.error("auditID %s: the download is cut: %s", self.audit_id, error)
            self.abort()
        finally:
            watch.cancel()
            await self.inventory.run(_close, chunks)

    async def _watch_pace(self, reading: pace.Pace) -> None:
        """Cut a download whose client reads too slowly: its place is for others."""
        limits = self._pacing
        while not reading.is_too_slow():
            await asyncio.sleep(limits.window_s / _CHECKS_PER_WINDOW)
        _log.warning(
            "auditID %s: the download is cut: its client read less than %d bytes per second for"
            " %.0f s; it may go on with offset=",
            *(self.audit_id, limits.bytes_per_s, limits.window_s),
        )
        limits.count_slow()
        self.cut()

    def on_connection_close(self) -> None:
        """Tornado's: the client has left, perhaps with all it wanted; `_send` knows which."""
        self.client_left = True

    def _parameters(self) -> tuple[str | None, str | None, int, bool]:
        unknown = sorted(set(self.query) - set(_PARAMETERS))
        if unknown:
            raise errors.BadRequest.about(
                unknown[0],
                f"unknown query parameter {unknown[0]!r}; there are {', '.join(_PARAMETERS[:4])}",
            )
        for name in ("container", "id"):
            if self.query.get(name) == "":
                raise errors.BadRequest.about(
                    name, f"{name} must not be empty; leave it out for all"
                )
        offset = options.number(self.query, "offset", 0, _LENGTH_MAX)
        sparse = self.query.get("sparse", "true")
        if sparse not in ("true", "false"):
            raise errors.BadRequest.about("sparse", "sparse must be true or false")
        return self.query.get("container"), self.query.get("id"), offset, sparse == "true"

    def write_error(self, status_code: int, **kwargs: object) -> None:
        """The answer to a range beyond the end says how long the archive is (RFC 9110)."""
        error = kwargs.get("exc_info", (None, None))[1]  # type: ignore[index]
        if isinstance(error, ranges.RangeBeyondEnd):
            self.set_header("Content-Range", f"bytes */{error.size}")
        super().write_error(status_code, **kwargs)


def _close(chunks: Iterator[bytes]) -> None:
    chunks.close()  # type: ignore[attr-defined]


def routes(
    resource: Dumps, dumps: inventory.Inventory, pacing: Pacing = Pacing()
) -> list[application.Route]:
    """The download routes of one kind: `<plural>/dump` and `<plural>/proxy` are own rights."""
    place = rf"{kinds.API_GROUP.path}/namespaces/(?P<namespace>[^/]+)/{resource.kind.plural}"
    arguments = {"resource": resource, "inventory": dumps, "pacing": pacing}
    return [
        application.Route(
            rf"{place}/(?P<name>[^/]+)/{subresource.name}",
            Download,
            rights.Resource(kinds.GROUP, kinds.VERSION, resource.kind.plural, subresource.name),
            arguments,
        )
        for subresource in resource.kind.subresources
        if subresource.produces == MEDIA_TYPE
    ]
