"""Receives dumps from agents, for a store that only this server can reach; formats/upload.py.

Only the agent's service account may send: TokenReview authenticates it, RBAC allows it, the
settings name it, and its token is bound to the node whose crashes it sends (`senders`, `origin`).
Each node has a share of the places (`places`) and must keep a pace (`pace`). A body is never in
memory as a whole: it flows, with back pressure, into the commit.

Tested in: tests/integration/server/test_uploads.py
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import dataclasses
import io
import logging
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO, Protocol, cast

from coredumpd import errors
from coredumpd.apiserver.auth import rights
from coredumpd.apiserver.http import application, handler
from coredumpd.apiserver.machinery import pace
from coredumpd.formats import core_index, layout, upload
from coredumpd.formats import record as records
from coredumpd.server.uploads import (
    admission,
    event_reports,
    flow,
    origin,
    places,
    senders,
)

BODY_BYTES_MAX = 1 << 40
BODY_S_MAX = 6 * 3600.0
_PIECE_BYTES = 1024 * 1024
_CHECKS_PER_WINDOW = 4
SLOW_RETRY_AFTER_S = 30

_log = logging.getLogger(__name__)


class Store(Protocol):
    """The part of `store.interface.Store` that receiving needs."""

    def commit(
        self,
        key: layout.DumpKey,
        record: records.CrashRecord,
        core: BinaryIO,
        index: core_index.Index | None = None,
        /,
    ) -> None: ...
    def read_record(self, key: layout.DumpKey) -> records.CrashRecord: ...


class Counters(Protocol):
    """`metrics.Uploads`."""

    def count_refusal(self, reason: str) -> None: ...
    def count_eviction(self) -> None: ...
    def count_cut(self) -> None: ...


@dataclasses.dataclass(frozen=True)
class Limits:
    """Dumps at a time; bytes per second that each must bring over a window of seconds."""

    at_once: int = 8
    bytes_per_s: int = 64 * 1024
    window_s: float = 30.0


@dataclasses.dataclass
class Uploads:
    """The store that dumps are committed to, who may send them, and how much at a time."""

    store: Store
    senders: senders.Senders
    origins: origin.Origins
    admission: admission.Admission
    limits: Limits = Limits()
    events: event_reports.EventReports | None = None  # None: nobody writes Events
    count_refusal: Callable[[str], None] = lambda _: None  # by reason

    def __post_init__(self) -> None:
        """Commits have threads of their own: a slow agent must not delay downloads."""
        self.threads = concurrent.futures.ThreadPoolExecutor(self.limits.at_once, "intake")
        self.places = places.Places(self.limits.at_once)

    def observe(self, counters: Counters) -> None:
        """Count refusals, evictions and cuts from now on."""
        self.count_refusal = counters.count_refusal
        if self.events is not None:
            self.events.count_refusal = counters.count_refusal
        self.admission.effects = dataclasses.replace(
            self.admission.effects, evicted=counters.count_eviction, cut=counters.count_cut
        )

    async def run(self, call: Any, *arguments: Any) -> Any:
        """`call(*arguments)` in one of the threads."""
        return await asyncio.get_running_loop().run_in_executor(self.threads, call, *arguments)


class Intake(handler.Handler):
    """GET answers the core that the store has under a key, PUT commits a new dump."""

    audited = True
    share = None
    body_bytes_max = BODY_BYTES_MAX

    def initialize(  # type: ignore[override]
        self, rights: rights.Rights, uploads: Uploads
    ) -> None:
        """Tornado's; the arguments come from the route."""
        self.uploads = uploads
        self._flow: flow.Flow | None = None
        self._commit: asyncio.Task[Any] | None = None
        self._waiting = bytearray()
        self._head: tuple[records.CrashRecord, int] | None = None
        self._place: str | None = None
        self._room = contextlib.AsyncExitStack()
        self._watch: asyncio.Task[None] | None = None
        limits = uploads.limits
        self._pace = pace.Pace(limits.bytes_per_s, limits.window_s)
        super().initialize(rights)

    async def admit(self) -> None:
        """As every handler; then refuse anyone but an agent, and more bodies than its share."""
        await super().admit()
        with self._refusals("token"):
            self.sender = await self.uploads.senders.of(self.caller)
        self.key = upload.parse_key(self.path_kwargs)
        if self.request.method != "PUT":
            return
        with self._refusals("places"):
            self.uploads.places.take(self.sender.place)
        self._place = self.sender.place
        connection = cast(Any, self.request.connection)
        connection.set_max_body_size(self.body_bytes_max)
        connection.set_body_timeout(BODY_S_MAX)
        self._pace.waits()
        self._watch = asyncio.create_task(self._watch_pace(), name=f"pace of {self.key}")

    async def data_received(self, chunk: bytes) -> None:  # type: ignore[override]
        """Tornado's; it reads on only when this returns."""
        self._pace.receives(len(chunk))
        try:
            await self._take(chunk)
        except errors.CoredumpdError as error:
            self._refusal = error
        finally:
            self._pace.waits()

    async def _take(self, chunk: bytes) -> None:
        """Raises why the dump cannot be kept."""
        over = self._commit is not None and self._commit.done()
        if self._refusal is not None or self._finished or over:
            return  # discard the rest of the body; the answer follows it
        self._waiting += chunk
        if self._flow is None:
            await self._begin()
        if self._flow is not None and len(self._waiting) >= _PIECE_BYTES:
            await self._pass_on()

    async def _watch_pace(self) -> None:
        """End an upload that is too slow: its place is for others."""
        limits = self.uploads.limits
        while not self._pace.is_too_slow():
            await asyncio.sleep(limits.window_s / _CHECKS_PER_WINDOW)
        error = errors.TooManyRequests(
            f"{self.key} came slower than {limits.bytes_per_s} bytes per second for"
            f" {limits.window_s:.0f} s; others need the place"
        )
        error.retry_after_s = SLOW_RETRY_AFTER_S
        self._watch = None  # it must not cancel itself
        self._count("slow", error)
        if not self._finished:
            self.send_error(error.http_status, exc_info=(type(error), error, None))
        self._end()

    @contextlib.contextmanager
    def _refusals(self, reason: str) -> Iterator[None]:
        """Count what the block refuses, and log it by name."""
        try:
            yield
        except (errors.Forbidden, errors.TooManyRequests, errors.Unavailable) as error:
            self._count(reason, error)
            raise

    def _count(self, reason: str, error: errors.CoredumpdError) -> None:
        self.uploads.count_refusal(reason)
        _log.warning("auditID %s: an upload is refused: %s", self.audit_id, error)

    async def get(self, **_: str) -> None:
        """Answer the `core` of the record in the store. Raises NotFound; Forbidden for a dump of
        another node.
        """
        record = await self.uploads.run(self.uploads.store.read_record, self.key)
        if self.sender.node not in (None, record.node):
            raise errors.Forbidden(f"{self.key} is not of node {self.sender.node!r}")
        self.answer(upload.answer(record))

    async def put(self, **_: str) -> None:
        """The body is complete: wait for the commit, then answer the `core` that was stored."""
        self._stop_watch()
        if self._finished:
            return
        try:
            await self._finish_commit()
        except errors.BadRecord as error:  # the agent's record, not one of our store
            raise errors.Invalid(error.message, error.causes) from error
        await self._room.aclose()  # committed: it is counted as stored from now on
        record = await self._answer_stored()
        if self.uploads.events is not None:
            self.uploads.events.committed(record)

    async def _answer_stored(self) -> records.CrashRecord:
        record: records.CrashRecord
        record = await self.uploads.run(self.uploads.store.read_record, self.key)
        if not self._finished:
            self.answer(upload.answer(record), 201)
        return record

    async def _finish_commit(self) -> None:
        if self._refusal is not None:
            raise self._refusal
        if self._flow is None or self._commit is None:
            raise errors.BadRecord("the body ended before the record did")
        await self._pass_on()
        await self._flow.end()
        await self._commit

    async def _begin(self) -> None:
        """Start the commit once record and index are whole. Raises BadRecord, and as `Origins`."""
        if self._head is None:
            self._head = upload.parse_head(self._waiting)
        if self._head is None:
            return
        record, length = self._head
        end = length + upload.index_bytes(record)
        if len(self._waiting) < end:
            return
        data = bytes(self._waiting[length:end])
        index = await self.uploads.run(core_index.of_record, record, data)
        if record.key() != self.key:
            raise errors.BadRecord(f"the record is of {record.key()}, it was sent as {self.key}")
        del self._waiting[:end]
        with self._refusals("origin"):
            proven = await self.uploads.origins.check(self.sender, record)
        with self._refusals("space"):
            fits = await self._reserve(proven)
        if not fits:
            await self._keep_record(proven.record)
            return
        self._flow = flow.Flow(asyncio.get_running_loop())
        commit = self.uploads.run(
            self.uploads.store.commit, self.key, proven.record, cast(BinaryIO, self._flow), index
        )
        self._commit = asyncio.create_task(commit, name=f"intake {self.key}")

    async def _reserve(self, proven: origin.Origin) -> bool:
        """Is there room? Until `_end`, it is reserved. Raises as `Admission.room`."""
        stack = contextlib.AsyncExitStack()
        fits = await stack.enter_async_context(self.uploads.admission.room(proven))
        if self._ended:
            await stack.aclose()
            raise errors.Unavailable("the agent has disconnected")
        self._room = stack
        return fits

    async def _keep_record(self, record: records.CrashRecord) -> None:
        """Keep the record alone. The answer does not wait for the rest of the body."""
        commit = self.uploads.store.commit
        await self.uploads.run(commit, self.key, upload.cut(record), io.BytesIO(upload.NO_CORE))
        self.set_header("Connection", "close")
        await self._answer_stored()

    async def _pass_on(self) -> None:
        """Hand the bytes received to the commit, unless it has ended before the body."""
        assert self._flow is not None  # noqa: S101 (for mypy)
        assert self._commit is not None  # noqa: S101 (for mypy)
        piece = bytes(self._waiting)
        self._waiting.clear()
        passed = asyncio.ensure_future(self._flow.put(piece))
        await asyncio.wait({passed, self._commit}, return_when=asyncio.FIRST_COMPLETED)
        if not passed.done():
            passed.cancel()

    def on_connection_close(self) -> None:
        """Tornado's: the agent has disconnected; the commit fails and leaves nothing."""
        if self._flow is not None:
            self._flow.cut()
        super().on_connection_close()

    def _stop_watch(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None

    def _end(self) -> None:
        self._stop_watch()
        if self._place is not None:
            self.uploads.places.leave(self._place)
            self._place = None
        if self._flow is not None:
            self._flow.cut()
        if self._commit is not None:
            self._commit.add_done_callback(_ignore_result)
        self._room = _closed(self._room, self._commit)
        super()._end()


def _closed(
    room: contextlib.AsyncExitStack, commit: asyncio.Task[Any] | None
) -> contextlib.AsyncExitStack:
    """Give the reserved bytes back once the commit has ended; returns a stack that holds none."""

    async def close() -> None:
        if commit is not None:
            await asyncio.wait({commit})
        await room.aclose()

    task = asyncio.ensure_future(close())
    _closing.add(task)
    task.add_done_callback(_closing.discard)
    return contextlib.AsyncExitStack()


_closing: set[asyncio.Future[None]] = set()  # the loop itself keeps no reference


def _ignore_result(task: asyncio.Task[Any]) -> None:
    """Take the result of a commit whose agent has disconnected: nobody is left to answer."""
    with contextlib.suppress(asyncio.CancelledError, Exception):  # the audit line says "aborted"
        task.result()


def routes(uploads: Uploads | None) -> list[application.Route]:
    """The routes of this module; none where no agent may send."""
    if uploads is None:
        return []
    return [application.Route(upload.ROUTE, Intake, rights.Path(), {"uploads": uploads})]
