"""`coredumpd server --standalone`: the same routes without Kubernetes, for one machine's root.

Loopback only; one generated token that may do everything; a self-signed certificate.

Tested in: tests/integration/server/test_lifecycle.py
"""

from __future__ import annotations

import datetime
import hmac
import json
import os
import secrets
from collections.abc import Sequence
from typing import Any

from coredumpd import durable, errors
from coredumpd.apiserver.auth import authentication, certificates, interface
from coredumpd.apiserver.http import life
from coredumpd.objects import engines
from coredumpd.server import app, cluster
from coredumpd.store import engines as stores

ADDRESS = "127.0.0.1"
_CONNECTIONS_MAX = 4096  # as in a cluster; its one caller has a share of half of them
_SEND_TIMEOUT_S = 60.0
_GRACE_S = 10.0


async def serve(data_dir: str, port: int, store_url: str | None) -> None:
    """Serve until a signal ends it. Raises SettingsError when `data_dir` cannot be used."""
    paths = {name: os.path.join(data_dir, name) for name in ("token", "tls.crt", "tls.key")}
    token = prepare(data_dir)
    outside = app.Outside(
        engine=engines.open_engine(f"sqlite:///{os.path.join(data_dir, 'objects.db')}"),
        store=stores.open_store(store_url or f"file://{os.path.join(data_dir, 'store')}"),
        authenticator=TokenAuthenticator(token),
        authorizer=TokenHolderMay(),
        cluster=cluster.NoCluster(),
        checks={},
        connections_max=_CONNECTIONS_MAX,
    )
    options = life.Options(
        address=ADDRESS,
        port=port,
        cert_file=paths["tls.crt"],
        key_file=paths["tls.key"],
        send_timeout_s=_SEND_TIMEOUT_S,
        shutdown_delay_s=0.0,
        shutdown_grace_s=_GRACE_S,
    )

    def ready(bound: int) -> None:
        url = f"https://{ADDRESS}:{bound}"
        durable.write_whole(
            os.path.join(data_dir, "kubeconfig"),
            json.dumps(kubeconfig(url, paths["tls.crt"], token), indent=2).encode(),
        )
        print(
            f"serving {url} (standalone: loopback only)\n"
            f"token: {paths['token']}\n"
            f"certificate: {paths['tls.crt']}\n"
            f"kubectl --kubeconfig {os.path.join(data_dir, 'kubeconfig')} "
            "get --raw /apis/coredump.fujitsu.com/v1alpha1",
            flush=True,
        )

    await life.serve(app.App(outside), options, ready=ready)


def prepare(data_dir: str) -> str:
    """Make the token, key pair and store that `data_dir` lacks. Returns the token."""
    try:
        os.makedirs(os.path.join(data_dir, "store"), mode=0o700, exist_ok=True)
        token_file = os.path.join(data_dir, "token")
        if not os.path.exists(token_file):
            durable.write_whole(token_file, secrets.token_urlsafe(32).encode() + b"\n")
        if not os.path.exists(os.path.join(data_dir, "tls.crt")):
            certificate, key = certificates.self_signed(datetime.datetime.now(datetime.UTC))
            durable.write_whole(os.path.join(data_dir, "tls.key"), key)
            durable.write_whole(os.path.join(data_dir, "tls.crt"), certificate)
        with open(token_file, encoding="ascii") as file:
            token = file.read().strip()
    except (OSError, errors.StorageError) as error:
        cause = errors.Cause("--data-dir", data_dir, f"must be a writable directory: {error}")
        raise errors.SettingsError("the server cannot start:", (cause,)) from error
    if not token:
        cause = errors.Cause("--data-dir", token_file, "must hold a token; remove it for a new one")
        raise errors.SettingsError("the server cannot start:", (cause,))
    return token


def kubeconfig(url: str, ca_file: str, token: str) -> dict[str, Any]:
    """A kubeconfig (JSON is YAML) that reaches this server."""
    name = "coredumpd-standalone"
    server = {"server": url, "certificate-authority": ca_file}
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": server}],
        "users": [{"name": name, "user": {"token": token}}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
        "current-context": name,
    }


class TokenAuthenticator:
    """The token's holder is the owner."""

    def __init__(self, token: str) -> None:
        self._token = token

    async def authenticate(
        self,
        headers: interface.Headers,
        chain: Sequence[bytes],  # noqa: ARG002
    ) -> interface.Caller:
        """See `interface.Authenticator`."""
        token = authentication.bearer_token(headers)
        if token is None or not hmac.compare_digest(token.encode(), self._token.encode()):
            raise errors.Unauthorized("the request needs the token in this server's data directory")
        return interface.Caller("owner", groups=(authentication.AUTHENTICATED,))


class TokenHolderMay:
    """Every authenticated caller may do everything."""

    async def check(self, caller: interface.Caller, attributes: interface.Attributes) -> None:
        """See `interface.Authorizer`."""
