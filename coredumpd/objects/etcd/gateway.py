"""Requests to etcd's own HTTP/JSON API: endpoints, TLS, tokens, and what errors mean.

The gRPC gateway of etcd 3.4 and later, below /v3/ (https://etcd.io/docs/v3.6/dev-guide/api_grpc_gateway/;
messages: etcd api/etcdserverpb/rpc.proto; 64-bit numbers are strings, bytes are base64). It knows
nothing about objects. Calls block and may come from several threads.
"""

from __future__ import annotations

import base64
import json
import logging
import os
import socket
import ssl
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import urllib3
from urllib3 import connection

from coredumpd import errors
from coredumpd.settings import sections

_CONNECT_TIMEOUT_S = 2.0
_ANSWER_TIMEOUT_S = 8.0  # etcd itself gives up after 7 s: 5 s and two elections
_POOLED_CONNECTIONS_MAX = 8
# A peer that is gone without a word is found out after 30 s, on an idle watch too.
_SOCKET_OPTIONS = [
    *connection.HTTPConnection.default_socket_options,
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 15),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 5),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
]
# A member cut off from the others must say so, and end our watches, instead of staying silent.
_HEADERS = {"Content-Type": "application/json", "Grpc-Metadata-hasleader": "true"}
# https://grpc.github.io/grpc/core/md_doc_statuscodes.html
_INVALID_ARGUMENT, _PERMISSION_DENIED, _RESOURCE_EXHAUSTED, _UNAUTHENTICATED = 3, 7, 8, 16
_FAILED_PRECONDITION, _OUT_OF_RANGE, _UNIMPLEMENTED = 9, 11, 12
_DEFINITE = {
    *(_INVALID_ARGUMENT, _PERMISSION_DENIED, _RESOURCE_EXHAUSTED, _UNAUTHENTICATED),
    *(_FAILED_PRECONDITION, _OUT_OF_RANGE, _UNIMPLEMENTED),
}
_TOKEN_IS_OLD = ("invalid auth token", "revision of auth store is old", "user name is empty")
_log = logging.getLogger(__name__)


class Lost(errors.Unavailable):
    """A request went out and no answer came back: what it asks for may have been done."""


class _Unreachable(Exception):
    """Nothing was asked: another endpoint may be."""


class _Refusal(Exception):
    """etcd answered, and it did not do it."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class Gateway:
    """`endpoints` are `http(s)://HOST:PORT`, tried in turn from the last one that answered."""

    def __init__(self, endpoints: Sequence[str], access: sections.EtcdSettings) -> None:
        self._endpoints = tuple(endpoints)
        self._access = access
        self._lock = threading.Lock()
        self._endpoint = self._endpoints[0]
        self._token: str | None = None
        self._stamp = _stamp(access)
        self._pools = self._connect()

    def ask(self, path: str, body: Mapping[str, Any], *, repeatable: bool = True) -> dict[str, Any]:
        """The answer to `body` at /v3/`path`.

        Raises Lost, when not `repeatable`, if it may have been done nevertheless; Unavailable when
        no endpoint answers; Expired, BadRequest, TooLarge, StorageError when etcd says no.
        """
        _, response = self._try_each(path, body, repeatable, stream=False)
        answer: dict[str, Any] = json.loads(response.data)
        return answer

    def stream(self, path: str, body: Mapping[str, Any]) -> tuple[str, urllib3.BaseHTTPResponse]:
        """(endpoint, an answer without an end, to be read in chunks and closed by the caller).

        With a new token: a watch that is refused for an old one says so in ways that differ from
        release to release.
        """
        endpoint, response = self._try_each(path, body, repeatable=True, stream=True)
        if (
            response.connection is not None
        ):  # the first byte had a deadline, the next may be hours off
            response.connection.sock.settimeout(None)  # type: ignore[attr-defined]
        return endpoint, response

    def answers(self, endpoint: str) -> bool:
        """Does it still answer? If it does not, the next request goes to another one."""
        body = {"key": base64.b64encode(b"/").decode(), "count_only": True, "serializable": True}
        try:
            self._with_token(endpoint, "kv/range", body, stream=False)
        except (_Unreachable, Lost):
            self._move_on(endpoint)
            return False
        except _Refusal:
            pass  # it says no, but it says something
        return True

    def close(self) -> None:
        """Close idle connections."""
        for pool in self._pools.values():
            pool.close()

    def _try_each(
        self, path: str, body: Mapping[str, Any], repeatable: bool, stream: bool
    ) -> tuple[str, urllib3.BaseHTTPResponse]:
        self._refresh_files()
        problem = ""
        for _ in range(len(self._endpoints) + 1):
            endpoint = self._endpoint
            try:
                return endpoint, self._with_token(endpoint, path, body, stream)
            except _Unreachable as error:
                problem = str(error)
            except Lost as error:
                if not repeatable:
                    raise
                problem = str(error)
            except _Refusal as refusal:
                raise _as_error(endpoint, refusal) from refusal
            self._move_on(endpoint)
        raise errors.Unavailable(problem)

    def _move_on(self, endpoint: str) -> None:
        with self._lock:
            if self._endpoint == endpoint:  # else another thread has moved on already
                place = self._endpoints.index(endpoint) + 1
                self._endpoint = self._endpoints[place % len(self._endpoints)]

    def _with_token(
        self, endpoint: str, path: str, body: Mapping[str, Any], stream: bool
    ) -> urllib3.BaseHTTPResponse:
        if self._access.credentialsDir is None:
            return self._post(endpoint, path, body, None, stream)
        token = self._token
        if token is not None and not stream:
            try:
                return self._post(endpoint, path, body, token, stream)
            except _Refusal as refusal:
                # Refused before it was done, so asking again is safe.
                if not any(words in refusal.message for words in _TOKEN_IS_OLD):
                    raise
        self._token = token = self._log_in(endpoint)
        return self._post(endpoint, path, body, token, stream)

    def _log_in(self, endpoint: str) -> str:
        """A token, which is empty while etcd asks nobody for one."""
        name, password = _credentials(str(self._access.credentialsDir))
        body = {"name": name, "password": password}
        try:
            answer = json.loads(self._post(endpoint, "auth/authenticate", body, None, False).data)
        except Lost as error:
            raise _Unreachable(str(error)) from error
        except _Refusal as refusal:
            if refusal.code == _FAILED_PRECONDITION:  # "authentication is not enabled"
                return ""
            raise
        return str(answer["token"])

    def _post(
        self, endpoint: str, path: str, body: Mapping[str, Any], token: str | None, stream: bool
    ) -> urllib3.BaseHTTPResponse:
        answer_timeout_s = None if stream else _ANSWER_TIMEOUT_S
        try:
            response = self._pools[endpoint].urlopen(
                "POST",
                f"/v3/{path}",
                body=json.dumps(body).encode(),
                headers=_HEADERS | ({"Authorization": token} if token else {}),
                timeout=urllib3.Timeout(connect=_CONNECT_TIMEOUT_S, read=answer_timeout_s),
                preload_content=not stream,
                retries=False,
            )
        except (
            urllib3.exceptions.NewConnectionError,
            urllib3.exceptions.ConnectTimeoutError,
            urllib3.exceptions.ClosedPoolError,
        ) as error:
            raise _Unreachable(f"etcd at {endpoint}: {error}") from error
        except urllib3.exceptions.HTTPError as error:
            raise Lost(f"etcd at {endpoint}: {error}") from error
        if response.status == 200:
            return response
        refusal = _refusal(response.status, response.data)
        if refusal.code in _DEFINITE:
            raise refusal
        raise Lost(f"etcd at {endpoint}: {refusal}")

    def _refresh_files(self) -> None:
        """Certificates are renewed under us: new connections use what the files say now."""
        stamp = _stamp(self._access)
        with self._lock:
            if stamp == self._stamp:
                return
            self._stamp = stamp
            old = self._pools
            try:
                self._pools = self._connect()
            except errors.StorageError as error:
                _log.warning("the old certificates for etcd stay in use: %s", error)
                return
        for pool in old.values():
            pool.close()

    def _connect(self) -> dict[str, urllib3.HTTPConnectionPool]:
        pools = {}
        for endpoint in self._endpoints:
            tls = endpoint.startswith("https:")
            more = {"ssl_context": _tls(self._access)} if tls else {}
            pools[endpoint] = urllib3.connection_from_url(
                endpoint, maxsize=_POOLED_CONNECTIONS_MAX, socket_options=_SOCKET_OPTIONS, **more
            )
        return pools


def _tls(access: sections.EtcdSettings) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=access.caFile)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if access.certFile is not None:
            context.load_cert_chain(access.certFile, access.keyFile)
    except OSError as error:  # SSLError is one
        files = [name for name in (access.caFile, access.certFile, access.keyFile) if name]
        raise errors.StorageError(f"TLS files for etcd ({', '.join(files)}): {error}") from error
    return context


def _stamp(access: sections.EtcdSettings) -> tuple[tuple[int, int] | None, ...]:
    found: list[tuple[int, int] | None] = []
    for path in (access.caFile, access.certFile, access.keyFile):
        try:
            status = os.stat(path) if path is not None else None
        except OSError:
            status = None
        found.append(None if status is None else (status.st_mtime_ns, status.st_ino))
    return tuple(found)


def _credentials(directory: str) -> tuple[str, str]:
    """The keys of a mounted Secret of type kubernetes.io/basic-auth, as they are now."""
    found = []
    for name in ("username", "password"):
        path = os.path.join(directory, name)
        try:
            with open(path, encoding="utf-8") as file:
                found.append(file.read().rstrip("\n"))
        except (OSError, UnicodeDecodeError) as error:
            raise errors.StorageError(f"credentials for etcd in {path}: {error}") from error
    return found[0], found[1]


def _refusal(status: int, data: bytes) -> _Refusal:
    """Written by the gateway as JSON, or by what stands before it as text."""
    try:
        told = json.loads(data)
        return _Refusal(int(told["code"]), str(told.get("message") or told.get("error")))
    except (ValueError, KeyError, TypeError):
        text = data[:300].decode("utf-8", "backslashreplace").strip()
    if status == 404:
        hint = "its JSON gateway is off, start it with --enable-grpc-gateway=true"
        return _Refusal(_UNIMPLEMENTED, f"{text}: {hint}")
    if status == 400:  # such as a client certificate with a common name where users have passwords
        return _Refusal(_FAILED_PRECONDITION, text)
    return _Refusal(0, f"HTTP {status}: {text}")


def _as_error(endpoint: str, refusal: _Refusal) -> errors.CoredumpdError:
    text = f"etcd at {endpoint}: {refusal.message}"
    match refusal.code:
        case 11 if "compacted" in refusal.message:
            return errors.Expired("that revision has been compacted; list again")
        case 11:
            return errors.BadRequest.about("resourceVersion", "that revision is in the future")
        case 3 if "too large" in refusal.message:
            return errors.TooLarge(text)
        case 8:
            return errors.Unavailable(text)
        case _:
            return errors.StorageError(text)
