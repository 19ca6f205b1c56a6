"""A store behind a coredumpd server, over HTTPS: for clusters without shared storage.

`PUT /agent/v1/dumps/<namespace>/<podUID>/<container>/<id>`; the body is the record's length (four
bytes, big endian), the record, then core.gz. The server commits it to its own store as every store
commits, and answers with the CRC-32 of what it has; `GET` tells what is there.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import ssl
import urllib.parse
import zlib
from collections.abc import Iterator
from typing import Any, BinaryIO

from coredumpd import errors
from coredumpd.formats import layout
from coredumpd.formats import record as records
from coredumpd.settings import sections

PATH = "/agent/v1/dumps"
LENGTH_BYTES = 4
TIMEOUT_S = 60.0  # of one send or receive; the server reads back what it wrote before it answers
ANSWER_BYTES_MAX = 1024 * 1024
_CHUNK_BYTES = 256 * 1024
# What no second try makes better; all else is worth one.
_FINAL: dict[str, type[errors.CoredumpdError]] = {
    "AlreadyExists": errors.AlreadyExists,
    "Invalid": errors.Invalid,
    "BadRecord": errors.BadRecord,
}


class RemoteStore:
    """See `store.Target`."""

    def __init__(self, url: str, wanted: sections.UploadSettings) -> None:
        self.url = url
        self._wanted = wanted
        parts = urllib.parse.urlsplit(url)
        self._host, self._port = parts.hostname or "", parts.port or 443

    def __repr__(self) -> str:
        return f"RemoteStore({self.url!r})"

    def commit(self, key: layout.DumpKey, entry: records.CrashRecord, core: BinaryIO) -> None:
        """See `store.Store.commit`. Sends nothing when the server has the dump already."""
        path = f"{PATH}/{key}"
        there = self._ask("GET", path)
        if there is None:
            sent = _Body(entry, core)
            answer = self._ask("PUT", path, sent)
            if answer is None or answer.get("storedCrc32") != f"{sent.crc:08x}":
                raise errors.StorageError(
                    f"{self.url}: {key}: the server has other bytes than sent"
                )
            return
        ours = entry.raw["core"]
        if not records.same_core(there, ours):
            raise errors.AlreadyExists(f"the store holds another dump under {key}")

    def _ask(self, method: str, path: str, body: _Body | None = None) -> dict[str, Any] | None:
        """The answer's document; None for 404."""
        try:
            with contextlib.closing(self._connection()) as connection:
                status, data = _exchange(connection, method, path, self._headers(), body)
        except (OSError, http.client.HTTPException) as error:
            why = str(error) or type(error).__name__
            raise errors.StorageError(f"{self.url}: {method} {path}: {why}") from error
        try:
            document = json.loads(data)
        except ValueError:  # an error page of something in between
            document = None
        if not isinstance(document, dict):
            raise errors.StorageError(f"{self.url}: {method} {path}: answered {status}, not JSON")
        if 200 <= status < 300:
            return document
        if status == 404 and document.get("reason") == "NotFound" and method == "GET":
            return None
        kind = _FINAL.get(str(document.get("reason")), errors.StorageError)
        raise kind(f"{self.url}: {status}: {document.get('message')}")

    def _connection(self) -> http.client.HTTPSConnection:
        """A new one each time: certificate and token are read as they are now."""
        try:
            context = ssl.create_default_context(cafile=self._wanted.caFile)
        except (OSError, ssl.SSLError) as error:
            raise errors.StorageError(f"upload.caFile {self._wanted.caFile}: {error}") from error
        return http.client.HTTPSConnection(
            self._host, self._port, timeout=TIMEOUT_S, context=context
        )

    def _headers(self) -> dict[str, str]:
        try:
            with open(self._wanted.tokenFile, encoding="ascii") as file:
                return {"Authorization": f"Bearer {file.read().strip()}"}
        except (OSError, ValueError) as error:
            raise errors.StorageError(
                f"upload.tokenFile {self._wanted.tokenFile}: {error}"
            ) from error


class _Body:
    """Record and core, framed, with the CRC-32 of the core as it passes."""

    def __init__(self, entry: records.CrashRecord, core: BinaryIO) -> None:
        self._entry = entry
        self._core = core
        self._meta = entry.encode()
        self.size = LENGTH_BYTES + len(self._meta) + entry.raw["core"]["storedSize"]
        self.crc = 0

    def __iter__(self) -> Iterator[bytes]:
        """Chunks. Raises BadRecord for a core that is not as long as its record says."""
        yield len(self._meta).to_bytes(LENGTH_BYTES, "big") + self._meta
        left = self._entry.raw["core"]["storedSize"]
        while chunk := self._core.read(_CHUNK_BYTES):
            left -= len(chunk)
            if left < 0:
                break
            self.crc = zlib.crc32(chunk, self.crc)
            yield chunk
        if left:
            rule = f"core.storedSize says {self._entry.raw['core']['storedSize']}"
            raise errors.BadRecord(f"{self._entry.id}: the core is of another length; {rule}")


def _exchange(
    connection: http.client.HTTPSConnection,
    method: str,
    path: str,
    headers: dict[str, str],
    body: _Body | None,
) -> tuple[int, bytes]:
    if body is not None:
        headers = headers | {
            "Content-Length": str(body.size),
            "Content-Type": "application/octet-stream",
        }
    try:
        connection.request(method, path, None if body is None else iter(body), headers)
    except (BrokenPipeError, ConnectionResetError, ssl.SSLEOFError):
        # A server that refuses early stops to read; its answer may be here all the same.
        if connection.sock is None:
            raise
    response = connection.getresponse()
    return response.status, response.read(ANSWER_BYTES_MAX)
