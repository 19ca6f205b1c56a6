"""Base class of every handler: authenticates, authorizes, bounds, answers errors as Status.

The order is fixed: the body is read only once the caller is known and allowed. Runs on the event
loop; calls that block belong in a thread.

Tested in: tests/unit/apiserver/http/test_application.py
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import logging
import sys
import time
import uuid
from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeVar, TypeVarTuple, cast

from tornado import iostream, web

from coredumpd import errors
from coredumpd.apiserver.auth import interface, rights, tenants
from coredumpd.apiserver.http import audit, connections, fairness, places, tls, workers
from coredumpd.apiserver.machinery import bodies, negotiation, status

AUDIT_ID_CHARS_MAX = 64
CONNECTIONS_MAX = 1024
END_S_MAX = 5.0  # until an answer that shall end is cut
ON_LOOP_BYTES_MAX = 16 * 1024  # of JSON, which takes less than a millisecond
ClientGone = iostream.StreamClosedError  # raised by `flush` once the client has left
_log = logging.getLogger(__name__)
_T = TypeVar("_T")
_A = TypeVarTuple("_A")


class Observer(Protocol):
    """Is called when requests begin and end."""

    def began(self, handler: Handler) -> None: ...
    def ended(self, handler: Handler) -> None: ...


@dataclasses.dataclass(frozen=True)
class Guard:
    """The checks of callers, the observer, the shares and the threads, which all handlers use."""

    authenticator: interface.Authenticator
    authorizer: interface.Authorizer
    observer: Observer
    fairness: fairness.Fairness = dataclasses.field(default_factory=fairness.Fairness)
    connections: connections.Connections = dataclasses.field(
        default_factory=lambda: connections.Connections(CONNECTIONS_MAX)
    )
    workers: workers.Workers = dataclasses.field(default_factory=workers.Workers)


@web.stream_request_body
class Handler(web.RequestHandler):
    """Base of all. Subclasses set `audited` if they serve memory, and `share` to what they use.

    `share` None: the handler has limits of its own.
    """

    audited = False  # mutating methods are in any case
    body_bytes_max = bodies.BODY_BYTES_MAX
    share: fairness.Kind | None = "request"

    caller: interface.Caller | None = None
    attributes: interface.Attributes | None = None  # of the action that the caller asks for
    object_name = ""  # of the object that a create makes; the path does not have it
    sent_bytes = 0
    outcome = "complete"

    def initialize(self, rights: rights.Rights) -> None:
        """Tornado's: the first thing that happens to a request. The route's rights come first."""
        self.rights = rights
        self.guard: Guard = self.settings["guard"]
        self.began_at = time.monotonic()
        self.audit_id = self._audit_id()
        self._body = bytearray()
        self._ended = False
        self._refusal: errors.CoredumpdError | None = None
        self.client_left = False
        self.wake: asyncio.Event | None = None  # set by us when the client leaves
        self.ended = False  # the answer shall end now, so that another caller can have its place
        self.places = places.Places(
            self.guard.fairness, self.guard.connections, self._stream(), self._end_early
        )
        self.guard.observer.began(self)

    async def prepare(self) -> None:
        """Tornado's: between the head and the body. Raises errors that `write_error` answers.

        A client that is cut off while it sends can lose the answer (RFC 9112, 9.6). So if the body
        is short enough, a refusal is answered only after it.
        """
        try:
            await self.admit()
        except errors.CoredumpdError as error:
            self.places.refuse()
            if not bodies.is_soon_over(self.request.headers):
                raise
            self._refusal = error
            setattr(self, (self.request.method or "").lower(), self._refuse)

    def _refuse(self, **_: str) -> None:
        """Takes the place of the method in a request that was refused before its body came."""
        assert self._refusal is not None  # noqa: S101 (for mypy)
        raise self._refusal

    async def admit(self) -> None:
        """Authenticate, authorize, check the body's size. Raises errors for `write_error`."""
        fields = self.request.headers.get_all()
        if sum(len(name) + len(value) + 4 for name, value in fields) > bodies.HEADER_BYTES_MAX:
            raise errors.HeadersTooLarge(
                f"the headers are longer than {bodies.HEADER_BYTES_MAX} bytes"
            )
        self.query = self._query()
        self.attributes = self.rights.attributes(
            self.request.method or "", self.request.path, self.path_kwargs, self.query
        )
        if self.attributes is not None:
            await self._admit_caller(self.attributes)
        length = self.request.headers.get("Content-Length", "0")
        if length.isdecimal() and int(length[:20]) > self.body_bytes_max:
            raise errors.TooLarge(f"the body is longer than {self.body_bytes_max} bytes")

    async def _admit_caller(self, attributes: interface.Attributes) -> None:
        """Authenticate and authorize. From the moment that it has a name, a request has a place."""
        self.caller = await self._authenticated()
        if self.caller.proxied:
            self.guard.connections.trust(self._stream())
            self.set_default_headers()
        self.hold("request")
        await self.guard.authorizer.check(self.caller, attributes)
        self.places.keep_connection()
        if self.share is not None:
            self.hold(self.share)
        if self.share != "request":
            self.places.release("request")

    async def _authenticated(self) -> interface.Caller:
        headers, authenticator = self.request.headers, self.guard.authenticator
        chain = tls.peer_chain(self.request.connection)
        if "Authorization" not in headers:
            return await authenticator.authenticate(headers, chain)
        with self.guard.fairness.take_review(self.request.remote_ip or ""):
            return await authenticator.authenticate(headers, chain)

    def hold(self, kind: fairness.Kind) -> None:
        """Take a place of `kind` until the answer is sent. Raises TooManyRequests."""
        if self.caller is not None:
            self.places.hold(kind, self.caller)

    def _end_early(self) -> None:
        """Another caller needs the place: end soon, or be cut."""
        self.ended = True
        if self.wake is not None:
            self.wake.set()
        asyncio.get_running_loop().call_later(END_S_MAX, self._cut)

    def _cut(self) -> None:
        if not self._finished:
            self.abort()

    async def _execute(self, transforms: Any, *args: bytes, **kwargs: bytes) -> None:
        """Tornado's: the whole of the request."""
        try:
            await super()._execute(transforms, *args, **kwargs)
        finally:
            self.places.done()

    def _stream(self) -> Any:
        return getattr(self.request.connection, "stream", None)

    def data_received(self, chunk: bytes) -> None:
        """Tornado's: part of the body. Beyond the limit it is dropped, and `body` then refuses."""
        if self._refusal is None and len(self._body) <= bodies.BODY_BYTES_MAX:
            self._body += chunk

    def body(self) -> bytes:
        """The whole body. Raises TooLarge."""
        if len(self._body) > bodies.BODY_BYTES_MAX:
            raise errors.TooLarge(f"the body is longer than {bodies.BODY_BYTES_MAX} bytes")
        return bytes(self._body)

    async def document(self) -> dict[str, Any]:
        """The body as an object.

        Raises BadRequest, TooLarge, UnsupportedMediaType, TooManyRequests.
        """
        body, content_type = self.body(), self.request.headers.get("Content-Type", "")
        if len(body) <= ON_LOOP_BYTES_MAX and "yaml" not in content_type:
            return bodies.parse(body, content_type)
        return await self.computed(bodies.parse, body, content_type)

    async def computed(self, call: Callable[[*_A], _T], *arguments: *_A) -> _T:
        """`call(*arguments)` in a thread, after the caller's other ones. Raises TooManyRequests."""
        holder = tenants.tenant(self.caller) if self.caller else self.request.remote_ip
        return await self.guard.workers.run(holder, call, *arguments)

    def answer(
        self, document: Mapping[str, Any], code: int = 200, content_type: str = "application/json"
    ) -> None:
        """Finish with a JSON document."""
        self.set_status(code)
        data = json.dumps(document, separators=(",", ":")).encode() + b"\n"
        self.answer_bytes(data, content_type)

    def answer_cached(
        self, document: Mapping[str, Any], content_type: str = "application/json"
    ) -> None:
        """Finish with a JSON document and its ETag; with 304 if the client has it already."""
        tag = negotiation.etag(document)
        self.set_header("ETag", tag)
        self.set_header("Vary", "Accept")
        if tag not in self.request.headers.get("If-None-Match", ""):
            self.answer(document, 200, content_type)
            return
        self.set_status(304)
        self.finish()

    def answer_bytes(self, data: bytes, content_type: str) -> None:
        """Finish with a body of any type."""
        self.set_header("Content-Type", content_type)
        self.set_header("Content-Length", str(len(data)))
        self.sent_bytes = len(data)
        self.finish(data if self.request.method != "HEAD" else None)

    def details(self, error: errors.CoredumpdError) -> dict[str, Any]:  # noqa: ARG002
        """`details` of the Status of `error`: the object or resource of the request."""
        attributes = self.attributes
        if attributes is None or not attributes.resource:
            return {}
        details = {
            "name": attributes.name or self.object_name,
            "group": attributes.group,
            "kind": attributes.resource,
        }
        return {name: value for name, value in details.items() if value}

    def set_default_headers(self) -> None:
        """Tornado's: headers of every reply."""
        self.set_header("Server", "coredumpd")
        self.set_header("X-Content-Type-Options", "nosniff")
        # kube-apiserver adds these to what it passes on, beside those that are there: the second
        # one if it has named the request.
        proxied = self.caller is not None and self.caller.proxied
        named = getattr(self, "audit_id", "") == self.request.headers.get("Audit-Id")
        self.set_header("Cache-Control", "no-cache, private")
        self.set_header("Audit-Id", getattr(self, "audit_id", ""))
        if proxied:
            self.clear_header("Cache-Control")
        if proxied and named:
            self.clear_header("Audit-Id")

    def check_etag_header(self) -> bool:
        """Tornado hashes bodies to answer If-None-Match; we only do where we set an ETag."""
        return False

    def compute_etag(self) -> str | None:
        """See `check_etag_header`."""
        return None

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Every error is a Status."""
        error = kwargs.get("exc_info", (None, None, None))[1]
        # Tornado hangs up after an answer that it sent before it had read the whole request. A
        # client that does not know this may send its next request on a closed connection.
        if not self.request._body_future.done():
            self.set_header("Connection", "close")
            # Nor may it answer a second time, because of a body that is too long to be dropped.
            cast(Any, self.request.connection).set_max_body_size(sys.maxsize)
        if isinstance(error, errors.CoredumpdError):
            self.set_status(error.http_status)
            document = self.status_of(error)
            if isinstance(error, errors.Unauthorized):
                self.set_header("WWW-Authenticate", 'Bearer realm="coredumpd"')
            if error.retry_after_s is not None:
                self.set_header("Retry-After", str(error.retry_after_s))
        elif isinstance(error, web.HTTPError):
            message = error.log_message or ""
            if status_code == 405:
                message = f"{self.request.method} is not possible on {self.request.path}"
            document = status.of_http(status_code, message)
        else:
            message = f"an internal error; the log has it under Audit-Id {self.audit_id}"
            document = status.of_http(500, message)
        self.outcome = "refused"
        self.answer(document, self.get_status())

    def status_of(self, error: errors.CoredumpdError) -> dict[str, Any]:
        """The Status of `error` as the caller may read it."""
        return status.of(error, self.details(error), self.audit_id)

    def log_hidden(self, error: errors.CoredumpdError) -> None:
        """Log the whole text of an error whose answer only has the Audit-Id."""
        if not error.is_public or (error.__cause__ is not None and error.http_status >= 500):
            reason = "" if error.__cause__ is None else f" ({error.__cause__})"
            _log.warning(
                "auditID %s: %s: %s%s", self.audit_id, self._request_summary(), error, reason
            )

    def log_exception(self, typ: Any, value: Any, tb: Any) -> None:
        """Our own errors are answers, not accidents; every other is logged with its traceback."""
        if isinstance(value, errors.CoredumpdError):
            self.log_hidden(value)
        elif not isinstance(value, web.HTTPError):
            _log.error("auditID %s", self.audit_id, exc_info=(typ, value, tb))

    def send_error(self, status_code: int = 500, **kwargs: Any) -> None:
        """Tornado's; once headers are sent, only cutting the connection shows an error."""
        if self._headers_written and not self._finished:
            self.abort()
            return
        super().send_error(status_code, **kwargs)

    def abort(self) -> None:
        """Cut the connection: the promised length cannot be sent."""
        self.cut()
        if not self._finished:
            self.finish()

    def cut(self) -> None:
        """Close the connection: `flush` raises ClientGone, where it waits and later on."""
        self.outcome = "aborted"
        stream = self._stream()
        if isinstance(stream, iostream.IOStream):
            stream.close()

    def on_connection_close(self) -> None:
        """Tornado's: the client has left."""
        self.client_left = True
        if self.wake is not None:
            self.wake.set()
        super().on_connection_close()
        self._end()

    def on_finish(self) -> None:
        """Tornado's: the reply is written."""
        self._end()

    def _end(self) -> None:
        if self._ended:
            return
        self._ended = True
        if self.client_left and self.outcome == "complete" and not self._finished:
            self.outcome = "aborted"
        self.guard.observer.ended(self)
        mutating = self.request.method not in ("GET", "HEAD", "OPTIONS")
        if self.attributes is not None and (mutating or self.audited):
            duration = time.monotonic() - self.began_at
            audit.write(
                audit.Event(
                    self.audit_id,
                    self.caller,
                    self.attributes,
                    self.request.remote_ip or "",
                    self.get_status(),
                    self.sent_bytes,
                    self.outcome,
                    duration,
                )
            )

    def _audit_id(self) -> str:
        """kube-apiserver's Audit-Id ties its audit log to ours; an odd one is replaced."""
        audit_id = self.request.headers.get("Audit-Id", "")
        plain = audit_id.replace("-", "").isalnum() and audit_id.isascii()
        return audit_id if plain and len(audit_id) <= AUDIT_ID_CHARS_MAX else str(uuid.uuid4())

    def _query(self) -> dict[str, str]:
        query = {}
        for name in self.request.query_arguments:
            values = self.get_query_arguments(name, strip=False)
            if len(values) > 1:
                raise errors.BadRequest.about(name, f"the query names {name!r} {len(values)} times")
            query[name] = values[0]
        return query
