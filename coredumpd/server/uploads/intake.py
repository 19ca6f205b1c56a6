"""Dumps from agents, for a store that only this server can reach: the other end of `store.remote`.

One identity may: the agent's service account, known by TokenReview, allowed by RBAC, and named in
the settings. A body is never in memory as a whole: it flows, with back pressure, into the commit.
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
from coredumpd.formats import layout
from coredumpd.formats import record as records
from coredumpd.server.uploads import flow
from coredumpd.store import uploading

AT_ONCE_MAX = 8  # more are told to come back later; each is a thread and some MiB
BODY_BYTES_MAX = 1 << 40
BODY_S_MAX = 6 * 3600.0
_PIECE_BYTES = 1024 * 1024


class Store(Protocol):
    """The part of `store.Store` that is needed here."""

    def commit(self, key: layout.DumpKey, entry: records.CrashRecord, core: BinaryIO) -> None: ...
    def read_record(self, key: layout.DumpKey) -> records.CrashRecord: ...


@dataclasses.dataclass
class Uploads:
    """Who may send dumps, and where they go."""

    store: Store
    account: str  # system:serviceaccount:NAMESPACE:NAME

    def __post_init__(self) -> None:
        """Its own threads: a slow agent must not stand in the way of downloads."""
        self.threads = concurrent.futures.ThreadPoolExecutor(AT_ONCE_MAX, "intake")
        self.busy = 0

    async def run(self, call: Any, *arguments: Any) -> Any:
        """`call(*arguments)` in one of the threads."""
        return await asyncio.get_running_loop().run_in_executor(self.threads, call, *arguments)


class Intake(handler.Handler):
    """GET: what is there. PUT: a new dump."""

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
        """The usual checks, then: is it the agent, and is there room?"""
        await super().admit()
        if self.caller is None or self.caller.user != self.uploads.account:
            who = self.caller.user if self.caller else "nobody"
            raise errors.Forbidden(f"{who} may not send dumps: only {self.uploads.account} may")
        self.key = layout.DumpKey(
            *(self.path_kwargs[name] for name in ("namespace", "pod_uid", "container", "id"))
        )
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
        if self._refused is not None or (self._commit is not None and self._commit.done()):
            return  # the rest of what is not wanted; the answer follows it
        self._waiting += chunk
        try:
            if self._flow is None:
                self._begin()
            if self._flow is not None and len(self._waiting) >= _PIECE_BYTES:
                await self._pass_on()
        except errors.CoredumpdError as error:
            self._refused = error

    async def get(self, **_: str) -> None:
        """`core` of the record that is there. Raises NotFound."""
        crash = await self.uploads.run(self.uploads.store.read_record, self.key)
        self.answer(crash.raw["core"])

    async def put(self, **_: str) -> None:
        """The end of the body: wait for the commit, and tell what is there now."""
        try:
            await self._finish_commit()
        except errors.BadRecord as error:  # a record of the agent's making, not of our store's
            raise errors.Invalid(error.message, error.causes) from error
        crash = await self.uploads.run(self.uploads.store.read_record, self.key)
        self.answer(crash.raw["core"], 201)

    async def _finish_commit(self) -> None:
        if self._refused is not None:
            raise self._refused
        if self._flow is None or self._commit is None:
            raise errors.BadRecord("the body ended before the record did")
        await self._pass_on()
        await self._flow.end()
        await self._commit

    def _begin(self) -> None:
        """Start the commit as soon as the record is whole. Raises BadRecord, Invalid."""
        head = uploading.LENGTH_BYTES
        if len(self._waiting) < head:
            return
        length = int.from_bytes(self._waiting[:head], "big")
        if length > records.RECORD_BYTES_MAX:
            raise errors.BadRecord(f"meta.json: {length} bytes; at most {records.RECORD_BYTES_MAX}")
        if len(self._waiting) < head + length:
            return
        entry = records.CrashRecord.parse(bytes(self._waiting[head : head + length]))
        if entry.key() != self.key:
            raise errors.BadRecord(f"the record is of {entry.key()}, it was sent as {self.key}")
        del self._waiting[: head + length]
        self._flow = flow.Flow(asyncio.get_running_loop())
        commit = self.uploads.run(
            self.uploads.store.commit, self.key, entry, cast(BinaryIO, self._flow)
        )
        self._commit = asyncio.create_task(commit, name=f"intake {self.key}")

    async def _pass_on(self) -> None:
        """Hand over what is waiting, unless the commit is over before the body is."""
        assert self._flow is not None  # noqa: S101 (for mypy)
        assert self._commit is not None  # noqa: S101 (for mypy)
        piece = bytes(self._waiting)
        self._waiting.clear()
        passed = asyncio.ensure_future(self._flow.put(piece))
        await asyncio.wait({passed, self._commit}, return_when=asyncio.FIRST_COMPLETED)
        if not passed.done():
            passed.cancel()

    def on_connection_close(self) -> None:
        """Tornado's: the agent has left in the middle; the commit fails and leaves nothing."""
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
            self._commit.add_done_callback(_heard)
        super()._end()


def _heard(task: asyncio.Task[Any]) -> None:
    """The result of a commit whose agent has left: it is told to nobody."""
    with contextlib.suppress(asyncio.CancelledError, Exception):  # the audit line says "aborted"
        task.result()


def routes(uploads: Uploads | None) -> list[application.Route]:
    """What this module serves; nothing where no agent may send."""
    if uploads is None:
        return []
    part = "/".join(f"(?P<{name}>[^/]+)" for name in ("namespace", "pod_uid", "container", "id"))
    return [
        application.Route(f"{uploading.PATH}/{part}", Intake, rights.Path(), {"uploads": uploads})
    ]
