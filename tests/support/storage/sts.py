"""A stand-in for AWS STS on a real socket: trades a workload's projected token for keys."""

from __future__ import annotations

import contextlib
import http.server
import ssl
import threading
import urllib.parse
from collections.abc import Iterator

from support import pki

_ANSWER = """\
<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
<AssumeRoleWithWebIdentityResult><Credentials>
<AccessKeyId>{key}</AccessKeyId><SecretAccessKey>{secret}</SecretAccessKey>
<SessionToken>a-session</SessionToken><Expiration>2099-01-01T00:00:00Z</Expiration>
</Credentials></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>
"""


class Sts(http.server.ThreadingHTTPServer):
    """Gives `keys` to whoever shows `token`; `asked` has the parameters of every request."""

    def __init__(self, authority: pki.Authority, keys: tuple[str, str], token: str) -> None:
        """With a certificate of `authority`: nobody trades tokens without TLS."""
        super().__init__(("127.0.0.1", 0), _Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*authority.issue("sts"))
        self.socket = context.wrap_socket(self.socket, server_side=True)
        self.keys, self.token = keys, token
        self.asked: list[dict[str, str]] = []

    @property
    def endpoint(self) -> str:
        return f"https://127.0.0.1:{self.server_address[1]}"


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Sts

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        query = urllib.parse.urlsplit(self.path).query
        asked = dict(urllib.parse.parse_qsl(f"{query}&{body}"))
        self.server.asked.append(asked)
        known = asked.get("WebIdentityToken") == self.server.token
        key, secret = self.server.keys
        answer = _ANSWER.format(key=key, secret=secret).encode() if known else b"<Error/>"
        self.send_response(200 if known else 403)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextlib.contextmanager
def running(authority: pki.Authority, keys: tuple[str, str], token: str) -> Iterator[Sts]:
    """One that is stopped in the end."""
    with Sts(authority, keys, token) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), name="sts")
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
