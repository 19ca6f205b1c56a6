"""Against a TLS server of the tests; tests/integration/agent/test_upload.py asks the real one."""

from __future__ import annotations

import http.server
import io
import json
import os
import ssl
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support import dumps, pki

from coredumpd import errors
from coredumpd.formats import upload
from coredumpd.settings import backends
from coredumpd.store import uploading


class Server(http.server.ThreadingHTTPServer):
    """Keeps the dumps it is sent, or refuses them before it has read their bodies."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, certificate: Path, key: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        self.socket = context.wrap_socket(self.socket, server_side=True)
        self.answers: dict[str, dict[str, Any]] = {}
        self.bodies: list[bytes] = []
        self.headers: list[dict[str, str]] = []
        self.refusal: tuple[int, Any] | None = None
        self.retry_after: str | None = None
        self.stored_crc32: str | None = None

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that is refused in the middle breaks its connection off."""


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def log_message(self, *_: Any) -> None:
        """Not on the tests' standard error."""

    def do_GET(self) -> None:
        self.server.headers.append(dict(self.headers))
        document = self.server.answers.get(self.path)
        self._answer(*((404, {"reason": "NotFound"}) if document is None else (200, document)))

    def do_PUT(self) -> None:
        self.server.headers.append(dict(self.headers))
        if self.server.refusal is not None:
            self._answer(*self.server.refusal)
            return
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if len(body) < int(self.headers["Content-Length"]):
            return  # the client has disconnected
        self.server.bodies.append(body)
        parsed = upload.parse_head(body)
        assert parsed is not None
        record, length = parsed
        crc32 = self.server.stored_crc32 or f"{zlib.crc32(body[length:]):08x}"
        document = upload.answer(record.with_core(storedCrc32=crc32))
        self.server.answers[self.path] = document
        self._answer(201, document)

    def _answer(self, status: int, document: Any) -> None:
        data = document if isinstance(document, bytes) else json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        if self.server.retry_after is not None:
            self.send_header("Retry-After", self.server.retry_after)
        self.end_headers()
        self.wfile.write(data)


@pytest.fixture
def authority(tmp_path: Path) -> pki.Authority:
    return pki.Authority(tmp_path, "serving-ca")


@pytest.fixture
def server(authority: pki.Authority) -> Iterator[Server]:
    with Server(*authority.issue("coredumpd")) as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture
def target(tmp_path: Path, authority: pki.Authority, server: Server) -> uploading.UploadTarget:
    (tmp_path / "token").write_text("agent\n")
    files = {"caFile": str(authority.file), "tokenFile": str(tmp_path / "token")}
    url = f"https://127.0.0.1:{server.server_port}"
    return uploading.UploadTarget(url, backends.UploadSettings(**files))


def test_a_dump_is_sent_whole_with_its_length_and_its_token(server, target):
    key, record, core = dumps.make(os.urandom(1_000_000))
    target.commit(key, record, core)
    assert server.bodies == [upload.head(record) + core.getvalue()]
    assert server.headers[-1]["Content-Length"] == str(len(server.bodies[0]))
    assert server.headers[-1]["Content-Type"] == "application/octet-stream"
    assert {headers["Authorization"] for headers in server.headers} == {"Bearer agent"}


def test_a_dump_that_the_server_has_is_not_sent_again(server, target):
    key, record, core = dumps.make()
    target.commit(key, record, core)
    core.seek(0)
    target.commit(key, record, core)
    assert len(server.bodies) == 1


def test_another_dump_under_the_same_key_is_not_sent(server, target):
    key, record, core = dumps.make()
    server.answers[upload.path(key)] = upload.answer(record.with_core(crc32="00000000"))
    with pytest.raises(errors.AlreadyExists):
        target.commit(key, record, core)
    assert server.bodies == []


def test_a_server_that_stored_other_bytes_is_an_error(server, target):
    server.stored_crc32 = "00000000"
    with pytest.raises(errors.StorageError, match="other bytes"):
        target.commit(*dumps.make())


@pytest.mark.parametrize(
    ("status", "document", "kind"),
    [
        (409, {"reason": "AlreadyExists", "message": "m"}, errors.AlreadyExists),
        (422, {"reason": "Invalid", "message": "m"}, errors.Invalid),
        (503, {"reason": "ServiceUnavailable", "message": "m"}, errors.StorageError),
        (404, {"reason": "NotFound", "message": "m"}, errors.StorageError),
        (502, b"<html>bad gateway</html>", errors.StorageError),
    ],
)
def test_a_refusal_before_the_body_was_read_is_understood(server, target, status, document, kind):
    server.refusal = (status, document)
    key, record, core = dumps.make(os.urandom(300_000))
    with pytest.raises(kind) as caught:
        target.commit(key, record, core)
    assert type(caught.value) is kind
    assert str(status) in str(caught.value)


@pytest.mark.parametrize("difference", [-1, 1])
def test_a_core_of_another_length_than_its_record_says_is_not_committed(server, target, difference):
    key, record, core = dumps.make()
    stored = core.getvalue() + b"x" if difference > 0 else core.getvalue()[:difference]
    with pytest.raises(errors.BadRecord, match="length"):
        target.commit(key, record, io.BytesIO(stored))
    assert server.answers == {}


def test_a_server_that_cannot_prove_who_it_is_is_sent_nothing(tmp_path, server, target):
    (tmp_path / "other").mkdir()
    other = pki.Authority(tmp_path / "other", "other-ca")
    files = {"caFile": str(other.file), "tokenFile": str(tmp_path / "token")}
    with pytest.raises(errors.StorageError, match="certificate"):
        uploading.UploadTarget(target.url, backends.UploadSettings(**files)).commit(*dumps.make())
    assert server.headers == []


@pytest.mark.parametrize("field", ["caFile", "tokenFile"])
def test_a_file_that_is_missing_is_named(tmp_path, authority, target, field):
    files = {"caFile": str(authority.file), "tokenFile": str(tmp_path / "token")}
    settings = backends.UploadSettings(**files | {field: str(tmp_path / "missing")})
    with pytest.raises(errors.StorageError, match=f"upload.{field}"):
        uploading.UploadTarget(target.url, settings).commit(*dumps.make())


def test_an_answer_that_describes_no_core_is_an_error(server, target):
    key, record, core = dumps.make()
    server.answers[upload.path(key)] = {"kind": "Status"}
    with pytest.raises(errors.StorageError, match="describes no core"):
        target.commit(key, record, core)


def test_a_server_that_is_away_is_an_error_that_trying_again_may_repair(target):
    settings = target._settings
    away = uploading.UploadTarget("https://127.0.0.1:1", settings)
    with pytest.raises(errors.StorageError, match=r"GET /agent/v1/dumps/.*refused"):
        away.commit(*dumps.make())


@pytest.mark.parametrize(
    ("header", "retry_after_s"),
    [("7", 7), ("999999", uploading.RETRY_AFTER_S_MAX), ("-1", None), ("soon", None), (None, None)],
)
@pytest.mark.parametrize("status", [429, 503])
def test_when_to_come_back_is_the_servers_word(server, target, status, header, retry_after_s):
    server.refusal = (status, {"reason": "TooManyRequests", "message": "later"})
    server.retry_after = header
    with pytest.raises(errors.StorageError) as refusal:
        target.commit(*dumps.make())
    assert refusal.value.retry_after_s == retry_after_s
