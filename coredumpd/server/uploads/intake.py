"""Receives dumps from agents, for a store that only this server can reach; formats/upload.py.

Only the agent's service account may send: TokenReview authenticates it, RBAC allows it, and the
settings name it. A body is never in memory as a whole: it flows, with back pressure, into the
commit.

Tested in: tests/integration/agent/test_upload.py
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import dataclasses
from typing import Any, BinaryIO, Protocol, cast

from coredumpd import errors
from coredumpd.apiserver.auth import rights
from coredumpd.apiserver.http import application, handler
from coredumpd.formats import layout, upload
from coredumpd.formats import record as records
from coredumpd.server.uploads import flow

AT_ONCE_MAX = 8  # more are answered 503; each takes a thread and some MiB
BODY_BYTES_MAX = 1 << 40
BODY_S_MAX = 6 * 3600.0
_PIECE_BYTES = 1024 * 1024


class Store(Protocol):
    """The part of `store.interface.Store` that receiving needs."""

    def commit(
        self, key: layout.DumpKey, record: records.CrashRecord, core: BinaryIO, /
    ) -> None: ...
    def read_record(self, key: layout.DumpKey) -> records.CrashRecord: ...


@dataclasses.dataclass
class Uploads:
    """The store that dumps are committed to, and the only account that may send them."""

    store: Store
    account: str  # system:serviceaccount:NAMESPACE:NAME

    def __post_init__(self) -> None:
        """Commits have threads of their own: a slow agent must not delay downloads."""
        self.threads = concurrent.futures.ThreadPoolExecutor(AT_ONCE_MAX, "intake")
        self.busy = 0

    async def run(self, call: Any, *arguments: Any) -> Any:
        """`call(*arguments)` in one of the threads."""
        return await asyncio.get_running_loop().run_in_executor(self.threads, call, *arguments)


class Intake(handler.Handler):
    """GET answers the core that the store has under a key, PUT commits a new dump."""

    audited = True
    body_bytes_max = BODY_BYTES_MAX

    def initialize(  # type: ignore[override]
        self, rights: rights.Rights, uploads: Uploads
    ) -> None:
        """Tornado's; the arguments come from the route."""
        self.uploads = uploads
        self._flow: flow.Flow | None = None
        self._commit: asyncio.Task[Any] | None = None
        self._waiting = bytearray()
        self._counted = False
        super().initialize(rights)

    async def admit(self) -> None:
        """As every handler; then refuse anyone but the agent, and more than AT_ONCE_MAX bodies."""
        await super().admit()
        if self.caller is None or self.caller.user != self.uploads.account:
            user = self.caller.user if self.caller else "nobody"
            raise errors.Forbidden(f"{user} may not send dumps: only {self.uploads.account} may")
        self.key = upload.parse_key(self.path_kwargs)
        if self.request.method != "PUT":
            return
        if self.uploads.busy >= AT_ONCE_MAX:
            raise errors.Unavailable(f"{AT_ONCE_MAX} dumps are being received already")
        self.uploads.busy += 1
        self._counted = True
        connection = cast(Any, self.request.connection)
        connection.set_max_body_size(self.body_bytes_max)
        connection.set_body_timeout(BODY_S_MAX)

    async def data_received(self, chunk: bytes) -> None:  # type: ignore[override]
        """Tornado's; it reads on only when this returns."""
        if self._refusal is not None or (self._commit is not None and self._commit.done()):
            return  # discard the rest of the body; the answer follows it
        self._waiting += chunk
        try:
            if self._flow is None:
                self._begin()
            if self._flow is not None and len(self._waiting) >= _PIECE_BYTES:
                await self._pass_on()
        except errors.CoredumpdError as error:
            self._refusal = error

    async def get(self, **_: str) -> None:
        """Answer the `core` of the record in the store. Raises NotFound."""
        record = await self.uploads.run(self.uploads.store.read_record, self.key)
        self.answer(upload.answer(record))

    async def put(self, **_: str) -> None:
        """The body is complete: wait for the commit, then answer the `core` that was stored."""
        try:
            await self._finish_commit()
        except errors.BadRecord as error:  # the agent's record, not one of our store
            raise errors.Invalid(error.message, error.causes) from error
        record = await self.uploads.run(self.uploads.store.read_record, self.key)
        self.answer(upload.answer(record), 201)

    async def _finish_commit(self) -> None:
        if self._refusal is not None:
            raise self._refusal
        if self._flow is None or self._commit is None:
            raise errors.BadRecord("the body ended before the record did")
        await self._pass_on()
        await self._flow.end()
        await self._commit

    def _begin(self) -> None:
        """Start the commit as soon as the record is whole. Raises BadRecord, Invalid."""
        parsed = upload.parse_head(self._waiting)
        if parsed is None:
            return
        record, length = parsed
        if record.key() != self.key:
            raise errors.BadRecord(f"the record is of {record.key()}, it was sent as {self.key}")
        del self._waiting[:length]
        self._flow = flow.Flow(asyncio.get_running_loop())
        commit = self.uploads.run(
            self.uploads.store.commit, self.key, record, cast(BinaryIO, self._flow)
        )
        self._commit = asyncio.create_task(commit, name=f"intake {self.key}")

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

    def _end(self) -> None:
        if self._counted:
            self._counted = False
            self.uploads.busy -= 1
        if self._flow is not None:
            self._flow.cut()
        if self._commit is not None:
            self._commit.add_done_callback(_ignore_result)
        super()._end()


def _ignore_result(task: asyncio.Task[Any]) -> None:
    """Take the result of a commit whose agent has disconnected: nobody is left to answer."""
    with contextlib.suppress(asyncio.CancelledError, Exception):  # the audit line says "aborted"
        task.result()


def routes(uploads: Uploads | None) -> list[application.Route]:
    """The routes of this module; none where no agent may send."""
    if uploads is None:
        return []
    return [application.Route(upload.ROUTE, Intake, rights.Path(), {"uploads": uploads})]
