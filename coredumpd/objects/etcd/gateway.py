"""Requests to etcd's own HTTP/JSON API: which endpoint is asked, with which token.

The gRPC gateway of etcd 3.4 and later, below /v3/ (https://etcd.io/docs/v3.6/dev-guide/api_grpc_gateway/;
messages: etcd api/etcdserverpb/rpc.proto; 64-bit numbers are strings, bytes are base64). It knows
nothing about objects. Calls block and may come from several threads.

Tested in: tests/integration/objects/test_failures.py
"""

from __future__ import annotations

import base64
import json
import os
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import urllib3

from coredumpd import errors
from coredumpd.objects.etcd import answers, connections
from coredumpd.settings import backends

_CONNECT_TIMEOUT_S = 2.0
ANSWER_TIMEOUT_S = 8.0  # etcd itself gives up after 7 s: 5 s and two elections
# A member cut off from the others must say so, and end our watches, instead of staying silent.
_HEADERS = {"Content-Type": "application/json", "Grpc-Metadata-hasleader": "true"}


class _Unreachable(Exception):
    """The request was not sent: another endpoint can be asked."""


class Gateway:
    """`endpoints` are `http(s)://HOST:PORT`, tried in turn from the last one that answered."""

    def __init__(
        self,
        endpoints: Sequence[str],
        access: backends.EtcdSettings,
        answer_timeout_s: float = ANSWER_TIMEOUT_S,
    ) -> None:
        self._endpoints = tuple(endpoints)
        self._access = access
        self._answer_timeout_s = answer_timeout_s
        self._lock = threading.Lock()
        self._endpoint = self._endpoints[0]
        self._token: str | None = None
        self._connections = connections.Connections(endpoints, access)

    def ask(self, path: str, body: Mapping[str, Any], *, repeatable: bool = True) -> dict[str, Any]:
        """The answer to `body` at /v3/`path`.

        Raises Lost if it is not `repeatable` and may have been done; Unavailable when no endpoint
        answers; Expired, BadRequest, TooLarge, StorageError when etcd refuses.
        """
        _, response = self._try_each(path, body, repeatable, stream=False)
        answer: dict[str, Any] = json.loads(response.data)
        return answer

    def stream(self, path: str, body: Mapping[str, Any]) -> tuple[str, urllib3.BaseHTTPResponse]:
        """(endpoint, an answer without an end, to be read in chunks and closed by the caller).

        A new token is used: the words by which a watch is refused for an old one differ from
        release to release.
        """
        endpoint, response = self._try_each(path, body, repeatable=True, stream=True)
        if response.connection is not None:  # the next byte may come in hours
            response.connection.sock.settimeout(None)  # type: ignore[attr-defined]
        return endpoint, response

    def answers(self, endpoint: str) -> bool:
        """Does `endpoint` still answer? If not, the next request goes to another one."""
        body = {"key": base64.b64encode(b"/").decode(), "count_only": True, "serializable": True}
        try:
            self._with_token(endpoint, "kv/range", body, stream=False)
        except (_Unreachable, answers.Lost):
            self._move_on(endpoint)
            return False
        except answers.Refusal:
            pass  # a refusal is an answer too
        return True

    def close(self) -> None:
        """Close idle connections."""
        self._connections.close()

    def _try_each(
        self, path: str, body: Mapping[str, Any], repeatable: bool, stream: bool
    ) -> tuple[str, urllib3.BaseHTTPResponse]:
        self._connections.refresh()
        problem = ""
        for _ in range(len(self._endpoints) + 1):
            endpoint = self._endpoint
            try:
                return endpoint, self._with_token(endpoint, path, body, stream)
            except _Unreachable as error:
                problem = str(error)
            except answers.Lost as error:
                if not repeatable:
                    raise
                problem = str(error)
            except answers.Refusal as refusal:
                raise answers.as_error(endpoint, refusal) from refusal
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
            except answers.Refusal as refusal:
                if not refusal.is_of_old_token:
                    raise
        self._token = token = self._log_in(endpoint)
        return self._post(endpoint, path, body, token, stream)

    def _log_in(self, endpoint: str) -> str:
        """A token; empty while authentication is off in etcd."""
        name, password = _credentials(str(self._access.credentialsDir))
        body = {"name": name, "password": password}
        try:
            answer = json.loads(self._post(endpoint, "auth/authenticate", body, None, False).data)
        except answers.Lost as error:
            raise _Unreachable(str(error)) from error
        except answers.Refusal as refusal:
            if refusal.code == answers.FAILED_PRECONDITION:  # "authentication is not enabled"
                return ""
            raise
        return str(answer["token"])

    def _post(
        self, endpoint: str, path: str, body: Mapping[str, Any], token: str | None, stream: bool
    ) -> urllib3.BaseHTTPResponse:
        answer_timeout_s = None if stream else self._answer_timeout_s
        try:
            response = self._connections.pool(endpoint).urlopen(
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
            raise answers.Lost(f"etcd at {endpoint}: {error}") from error
        if response.status == 200:
            return response
        refusal = answers.refusal(response.status, response.data)
        if refusal.is_definite:
            raise refusal
        raise answers.Lost(f"etcd at {endpoint}: {refusal}")


def _credentials(directory: str) -> tuple[str, str]:
    """The keys of a mounted Secret of type kubernetes.io/basic-auth, as they are now."""
    values = []
    for name in ("username", "password"):
        path = os.path.join(directory, name)
        try:
            with open(path, encoding="utf-8") as file:
                values.append(file.read().rstrip("\n"))
        except (OSError, UnicodeDecodeError) as error:
            raise errors.StorageError(f"credentials for etcd in {path}: {error}") from error
    return values[0], values[1]
