"""`coredumpd server --standalone`: the same routes without Kubernetes, for one machine's root.

Loopback only; one generated token that may do everything; a self-signed certificate.

Tested in: tests/integration/server/test_lifecycle.py
"""

from __future__ import annotations

import contextlib
import datetime
import hmac
import json
import os
import secrets
from collections.abc import Sequence
from typing import Any

from coredumpd import durable, errors, ownership
from coredumpd.apiserver.auth import authentication, certificates, interface
from coredumpd.apiserver.http import life
from coredumpd.objects import engines
from coredumpd.server import app, cluster
from coredumpd.store import engines as stores

ADDRESS = "127.0.0.1"
_CONNECTIONS_MAX = 4096  # as in a cluster; its one caller has a share of half of them
_SEND_TIMEOUT_S = 60.0
_GRACE_S = 10.0
_TOKEN_BYTES_MAX = 4096
# What an earlier run made in the data directory, and the most that its mode may allow.
_FILES = {
    "token": ownership.SECRET_FILE,
    "tls.key": ownership.SECRET_FILE,
    "kubeconfig": ownership.SECRET_FILE,
    "tls.crt": ownership.FILE,
    "objects.db": ownership.FILE,
    "objects.db-wal": ownership.FILE,
    "objects.db-shm": ownership.FILE,
}
_REMEDY = "name another directory with --data-dir; if only you have used it, change owner and mode"


async def serve(data_dir: str, port: int, store_url: str | None) -> None:
    """Serve until a signal ends it. `data_dir` is absolute. Raises as `prepare` does."""
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
    """Make the token, key pair and store that `data_dir` lacks. Returns the token.

    Raises Untrusted when others may use the directory, or a file in it that was there before;
    SettingsError when it cannot be used.
    """
    try:
        os.makedirs(os.path.dirname(data_dir), exist_ok=True)
        directory = ownership.open_directory(
            data_dir, ownership.SECRET_DIRECTORY, _REMEDY, create=True
        )
        try:
            return _prepare(data_dir, directory)
        finally:
            os.close(directory)
    except (OSError, errors.StorageError) as error:
        cause = errors.Cause("--data-dir", data_dir, f"must be a writable directory: {error}")
        raise errors.SettingsError("the server cannot start:", (cause,)) from error


def _prepare(data_dir: str, directory: int) -> str:
    for name, mode_max in _FILES.items():
        path = os.path.join(data_dir, name)
        with contextlib.suppress(FileNotFoundError):  # it will be made
            os.close(ownership.open_file(path, mode_max, _REMEDY, directory=directory))
    store = os.path.join(data_dir, "store")
    os.close(
        ownership.open_directory(store, ownership.DIRECTORY, _REMEDY, parent=directory, create=True)
    )
    present = os.listdir(directory)
    if "token" not in present:
        durable.write_whole_at("token", directory, secrets.token_urlsafe(32).encode() + b"\n")
    if "tls.crt" not in present:
        certificate, key = certificates.self_signed(datetime.datetime.now(datetime.UTC))
        durable.write_whole_at("tls.key", directory, key)
        durable.write_whole_at("tls.crt", directory, certificate)
    with os.fdopen(durable.open_regular("token", directory), "rb") as file:
        token = file.read(_TOKEN_BYTES_MAX).strip()
    if not token or not token.isascii():
        path = os.path.join(data_dir, "token")
        cause = errors.Cause("--data-dir", path, "must hold a token; remove it for a new one")
        raise errors.SettingsError("the server cannot start:", (cause,))
    return token.decode()


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
