"""Talk to one server pod past kube-apiserver, by a certificate of the cluster's CA or a token."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_PORT = 8443
_TIMEOUT_S = 30


class Server:
    """The server at `address`, called by `host`, the name in its certificate."""

    def __init__(
        self,
        address: str,
        host: str,
        authority: Path,
        cert: Path | None = None,
        key: Path | None = None,
    ) -> None:
        self._address = address
        self._host = host
        self._context = ssl.create_default_context(cafile=str(authority))
        if cert is not None:
            self._context.load_cert_chain(cert, key)

    @contextlib.contextmanager
    def open(
        self, method: str, path: str, body: str | None = None, token: str | None = None
    ) -> Iterator[http.client.HTTPResponse]:
        """Send a request; the response, its body not read yet."""
        connection = http.client.HTTPSConnection(self._host, timeout=_TIMEOUT_S)
        plain = socket.create_connection((self._address, _PORT), timeout=_TIMEOUT_S)
        connection.sock = self._context.wrap_socket(plain, server_hostname=self._host)
        headers = {"Content-Type": "application/json"} if body else {}
        headers |= {"Authorization": f"Bearer {token}"} if token else {}
        with contextlib.closing(connection):
            connection.request(method, path, body, headers)
            with connection.getresponse() as answer:
                yield answer

    def ask(
        self, method: str, path: str, body: str | None = None, token: str | None = None
    ) -> tuple[int, Any]:
        """Status and JSON."""
        with self.open(method, path, body, token) as answer:
            return answer.status, json.loads(answer.read())
