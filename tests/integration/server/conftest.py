"""A server with real TLS, SQLite and store, before a control plane that speaks real TLS too."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from support import dumps, pki
from support.kube import controlplane
from support.node import installed
from support.server import servers, watches

from coredumpd.store import engines as stores
from coredumpd.store import interface


@dataclasses.dataclass
class World:
    """Everything around one running server."""

    server: servers.Server
    kube: controlplane.ControlPlane
    ca_file: Path
    store: interface.Store
    directory: Path

    def client(
        self, certificate: tuple[Path, Path] | None = None, **headers: str
    ) -> servers.Client:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return servers.Client(self.server.port, self.ca_file, certificate, named)

    def proxied(self, user: str = "alice", **headers: str) -> servers.Client:
        """As kube-apiserver would pass on a request of `user`."""
        certificate = self.directory / "front-proxy-client.crt"
        if not certificate.exists():
            self.kube.proxy_ca.issue("front-proxy-client")
        pair = (certificate, certificate.with_suffix(".key"))
        return self.client(pair, X_Remote_User=user, **headers)


@pytest.fixture(scope="module", params=["source", "frozen"])
def program(request: pytest.FixtureRequest) -> str:
    if request.param == "frozen" and not installed.FROZEN.exists():
        pytest.skip("dist/coredumpd is missing: make dist")
    return str(request.param)


@pytest.fixture(scope="module")
def world(program: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with serving(program, tmp_path_factory.mktemp("world")) as made:
        yield made


@pytest.fixture(scope="module")
def make_world(
    program: str, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., contextlib.AbstractContextManager[World]]:
    """Makes a World of its own, with settings of the server as arguments."""
    return lambda **limits: serving(program, tmp_path_factory.mktemp("world"), **limits)


@contextlib.contextmanager
def serving(program: str, directory: Path, **limits: object) -> Iterator[World]:
    """A server, `source` or `frozen`, with `limits` among the settings of its section."""
    (directory / "store").mkdir()
    with controlplane.ControlPlane(directory) as kube:
        authority = pki.Authority(directory, "serving-ca")
        certificate, key = authority.issue("coredumpd")
        settings = {
            "server": {
                "store": f"file://{directory}/store",
                "objects": f"sqlite:///{directory}/objects.db",
                "port": 0,
                "tlsCertFile": str(certificate),
                "tlsKeyFile": str(key),
                "shutdownDelay": "0",
                "shutdownGrace": "20s",
                "reloadInterval": "1s",
                "tokenCacheTTL": "1s",
                **limits,
            }
        }
        (directory / "config.yaml").write_text(yaml.safe_dump(settings))
        arguments = ["--config", str(directory / "config.yaml")]
        arguments += ["--kubeconfig", str(kube.kubeconfig())]
        with servers.running(program, arguments, directory / "server.log") as server:
            opened = stores.open_store(f"file://{directory}/store")
            yield World(server, kube, authority.file, opened, directory)


@pytest.fixture
def stored(world: World) -> dict[str, bytes]:
    """Two dumps of pod team-a/web-0: container → the core's bytes."""
    cores = {"app": b"app core " * 300_000, "side": b"side core"}
    for number, (container, core) in enumerate(cores.items()):
        world.store.commit(*dumps.make(core, container=container, pid=100 + number))
    return cores


@pytest.fixture
def open_watch() -> Iterator[Callable[..., watches.Watch]]:
    """Opens `watches.Watch`es; every one is closed in the end."""
    opened = []

    def open_(*arguments: Any, **more: Any) -> watches.Watch:
        opened.append(watches.Watch(*arguments, **more))
        return opened[-1]

    yield open_
    for one in opened:
        one.close()
