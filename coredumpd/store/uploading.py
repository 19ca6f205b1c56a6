"""Ships dumps to a coredumpd server over HTTPS, for clusters without shared storage.

The server commits each dump to its own store; formats/upload.py has the request and its answer.
Each request has a connection of its own, by http.client. urllib3, which objects/etcd uses, would
lose the answer of a server that refuses a dump before its end: it still reads the answer after a
broken pipe, but not after the SSLEOFError that TLS makes of it.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import logging
import ssl
import urllib.parse
import zlib
from collections.abc import Iterator
from typing import Any, BinaryIO

from coredumpd import errors, proxies
from coredumpd.formats import core_index, event_report, layout, upload
from coredumpd.formats import record as records
from coredumpd.settings import backends

TIMEOUT_S = 60.0  # of one send or receive; the server reads back what it wrote before it answers
EVENT_TIMEOUT_S = 5.0  # an Event is a courtesy
ANSWER_BYTES_MAX = 1024 * 1024
RETRY_AFTER_S_MAX = 600
_CHUNK_BYTES = 256 * 1024
_log = logging.getLogger(__name__)
# Errors that trying again cannot repair, by the reason in the answer; all others are tried again.
_FINAL: dict[str, type[errors.CoredumpdError]] = {
    "AlreadyExists": errors.AlreadyExists,
    "Invalid": errors.Invalid,
    "BadRecord": errors.BadRecord,
}


class UploadTarget:
    """See `interface.Target`."""

    def __init__(self, url: str, settings: backends.UploadSettings) -> None:
        self.url = url
        self._settings = settings
        parts = urllib.parse.urlsplit(url)
        self._host, self._port = parts.hostname or "", parts.port or 443

    def __repr__(self) -> str:
        return f"UploadTarget({self.url!r})"

    def commit(
        self,
        key: layout.DumpKey,
        record: records.CrashRecord,
        core: BinaryIO,
        index: core_index.Index | None = None,
    ) -> None:
        """See `interface.Target.commit`. Sends nothing when the server has the dump already."""
        core_index.expect(record, index)
        path = upload.path(key)
        present = self._ask("GET", path)
        if present is None:
            body = _Body(record, core, index)
            answer = self._ask("PUT", path, body)
            if answer is not None and answer.is_cut:
                _log.warning("%s: of %s only the record is kept: %s", self.url, key, upload.QUOTA)
            elif answer is None or answer.stored_crc32 != f"{body.crc:08x}":
                raise errors.StorageError(
                    f"{self.url}: {key}: the server has other bytes than were sent"
                )
        elif not present.has_core_of(record) and not present.is_cut:
            raise errors.AlreadyExists(f"the store holds another dump under {key}")

    def report(self, report: event_report.Report) -> None:
        """See `interface.EventTarget`."""
        self._send("POST", event_report.PATH, _Document(report.encode()), EVENT_TIMEOUT_S)

    def _ask(self, method: str, path: str, body: _Body | None = None) -> upload.Answer | None:
        """The server's answer about a dump; None when it has no such dump."""
        document = self._send(method, path, body)
        return None if document is None else _parsed(document, f"{self.url}: {method} {path}")

    def _send(
        self,
        method: str,
        path: str,
        body: _Body | _Document | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> dict[str, Any] | None:
        """The document in the server's answer; None when a GET finds nothing."""
        try:
            with contextlib.closing(self._connection(timeout_s)) as connection:
                response, data = _exchange(connection, method, path, self._headers(), body)
                status = response.status
        except (OSError, http.client.HTTPException) as error:
            problem = str(error) or type(error).__name__
            raise errors.StorageError(f"{self.url}: {method} {path}: {problem}") from error
        try:
            document = json.loads(data)
        except ValueError:  # the error page of a proxy
            document = None
        if not isinstance(document, dict):
            raise errors.StorageError(f"{self.url}: {method} {path}: answered {status}, not JSON")
        if 200 <= status < 300:
            return document
        if status == 404 and document.get("reason") == "NotFound" and method == "GET":
            return None
        kind = _FINAL.get(str(document.get("reason")), errors.StorageError)
        refusal = kind(f"{self.url}: {status}: {document.get('message')}")
        refusal.retry_after_s = _retry_after_s(response)
        raise refusal

    def _connection(self, timeout_s: float) -> http.client.HTTPSConnection:
        """A new connection each time: the CA certificates may have been renewed."""
        try:
            context = ssl.create_default_context(cafile=self._settings.caFile)
        except (OSError, ssl.SSLError) as error:
            raise errors.StorageError(f"upload.caFile {self._settings.caFile}: {error}") from error
        try:
            proxy = proxies.of_environment().of(self.url)
        except errors.SettingsError as error:
            raise errors.StorageError(str(error)) from error
        if proxy is None:
            return http.client.HTTPSConnection(
                self._host, self._port, timeout=timeout_s, context=context
            )
        if not proxy.url.startswith("http:"):
            raise errors.StorageError(f"{self.url}: uploads need a proxy of http:, not {proxy.url}")
        connection = http.client.HTTPSConnection(
            proxy.host, proxy.port, timeout=timeout_s, context=context
        )
        connection.set_tunnel(self._host, self._port, proxy.headers)
        return connection

    def _headers(self) -> dict[str, str]:
        try:
            with open(self._settings.tokenFile, encoding="ascii") as file:
                return {"Authorization": f"Bearer {file.read().strip()}"}
        except (OSError, ValueError) as error:
            raise errors.StorageError(
                f"upload.tokenFile {self._settings.tokenFile}: {error}"
            ) from error


class _Document:
    """A small JSON document as a body."""

    content_type = "application/json"

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.size = len(data)

    def __iter__(self) -> Iterator[bytes]:
        yield self._data


class _Body:
    """Record and core as one body. Counts the CRC-32 of the core while it is sent."""

    content_type = upload.CONTENT_TYPE

    def __init__(
        self, record: records.CrashRecord, core: BinaryIO, index: core_index.Index | None
    ) -> None:
        self._record = record
        self._core = core
        self._head = upload.head(record) + (index.data if index is not None else b"")
        self.size = len(self._head) + record.stored_size
        self.crc = 0

    def __iter__(self) -> Iterator[bytes]:
        """Chunks. Raises BadRecord for a core that is not as long as its record says."""
        yield self._head
        remaining = self._record.stored_size
        while chunk := self._core.read(_CHUNK_BYTES):
            remaining -= len(chunk)
            if remaining < 0:
                break
            self.crc = zlib.crc32(chunk, self.crc)
            yield chunk
        if remaining:
            rule = f"core.storedSize says {self._record.stored_size}"
            raise errors.BadRecord(f"{self._record.id}: the core is of another length; {rule}")


def _retry_after_s(response: http.client.HTTPResponse) -> int | None:
    """Seconds that the server asks to wait (RFC 9110, 10.2.3), at most RETRY_AFTER_S_MAX."""
    text = response.getheader("Retry-After", "")
    is_number = text.isascii() and text.isdecimal() and len(text) < 10
    return min(int(text), RETRY_AFTER_S_MAX) if is_number else None


def _parsed(document: dict[str, Any], request: str) -> upload.Answer:
    try:
        return upload.parse_answer(document)
    except ValueError as error:
        raise errors.StorageError(f"{request}: {error}") from error


def _exchange(
    connection: http.client.HTTPSConnection,
    method: str,
    path: str,
    headers: dict[str, str],
    body: _Body | _Document | None,
) -> tuple[http.client.HTTPResponse, bytes]:
    if body is not None:
        headers = headers | {
            "Content-Length": str(body.size),
            "Content-Type": body.content_type,
        }
    try:
        connection.request(method, path, None if body is None else iter(body), headers)
    except (BrokenPipeError, ConnectionResetError, ssl.SSLEOFError):
        # A server that refuses before the end of the body stops reading; its answer may have come.
        if connection.sock is None:
            raise
    response = connection.getresponse()
    return response, response.read(ANSWER_BYTES_MAX)
