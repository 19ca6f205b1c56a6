"""A server to which agents send their dumps: its own store, TLS, and who may send."""

from __future__ import annotations

import contextlib
import http.client
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from coredumpd.formats import upload
from coredumpd.settings import backends, file
from coredumpd.store import engines as stores
from coredumpd.store import interface
from support import dumps, pki
from support.kube import controlplane
from support.server import servers

ACCOUNT = "system:serviceaccount:coredumpd:coredumpd-agent"


def agent_of(node: str) -> dict[str, Any]:
    """The agent's account, as a TokenReview of Kubernetes 1.30 shows a token bound to `node`."""
    extra = {
        "authentication.kubernetes.io/node-name": [node],
        "authentication.kubernetes.io/pod-name": [f"coredumpd-agent-{node}"],
        "authentication.kubernetes.io/pod-uid": [f"agent-{node}-uid"],
    }
    return {"username": ACCOUNT, "groups": ["system:serviceaccounts"], "extra": extra}


def _control_plane(directory: Path) -> controlplane.ControlPlane:
    kube = controlplane.ControlPlane(directory)
    for node in ("node1", "node2"):
        kube.tokens[f"agent-{node}"] = agent_of(node)
    kube.tokens["agent"] = kube.tokens["agent-node1"]
    kube.tokens["unbound"] = {"username": ACCOUNT, "groups": ["system:serviceaccounts"]}
    for namespace in ("default", "shop"):
        kube.namespace(namespace, f"{namespace}-uid")
    kube.tokens["admin"] = {"username": "admin", "groups": ["system:masters"]}
    kube.tokens["other"] = {"username": ACCOUNT + "x", "groups": []}
    return kube


class World:
    """A server that agents may send to, as `agent`, and nobody else."""

    def __init__(
        self, directory: Path, program: str = "source", kubeconfig: Path | None = None
    ) -> None:
        """`kubeconfig`: of a real kube-apiserver; without it, `kube` is one of the tests'."""
        self.directory = directory
        self.program = program
        self.more: dict[str, Any] = {}  # settings of the section `server`
        self.retention: dict[str, Any] = {}
        directory.mkdir()
        if kubeconfig is None:
            self.kube = _control_plane(directory)
        self._kubeconfig = kubeconfig
        self.path = directory / "served"
        self.path.mkdir()
        self.store = stores.open_store(self.path.as_uri())
        self.authority = pki.Authority(directory, "serving-ca")
        self.certificate, self.key = self.authority.issue("coredumpd")
        self.token = directory / "token"
        self.token.write_text("agent\n")
        self.port = 0
        self.server: servers.Server | None = None
        self.prefix: Sequence[str] = ()  # a command that starts the server

    def start(self) -> servers.Server:
        document = {
            "retention": self.retention,
            "server": {
                "store": self.path.as_uri(),
                "objects": f"sqlite:///{self.directory}/objects.db",
                "port": self.port,
                "tlsCertFile": str(self.certificate),
                "tlsKeyFile": str(self.key),
                "shutdownDelay": "0",
                "uploadAccount": ACCOUNT,
                **self.more,
            },
        }
        config = self.directory / "server.yaml"
        config.write_text(yaml.safe_dump(document))
        kubeconfig = self._kubeconfig or self.kube.kubeconfig()
        arguments = ["--config", str(config), "--kubeconfig", str(kubeconfig)]
        log = self.directory / "server.log"
        self.server = servers.Server(self.program, arguments, log, self.prefix)
        self.port = self.server.port
        return self.server

    def settings(self) -> dict[str, str]:
        return {"caFile": str(self.authority.file), "tokenFile": str(self.token)}

    def client(self, token: str) -> servers.Client:
        """Requests with that token."""
        headers = {"Authorization": f"Bearer {token}"}
        return servers.Client(self.port, self.authority.file, headers=headers)

    def target(self) -> interface.Target:
        upload = file.check({"upload": self.settings()}).upload
        url = f"https://127.0.0.1:{self.port}"
        return stores.open_target(url, backends.BucketSettings(), upload)


class Trickle:
    """An upload that brings a byte now and then, never a whole dump."""

    def __init__(self, world: World, token: str, pid: int, node: str) -> None:
        key, record, _ = dumps.make(pid=pid, node=node, pod_uid=f"slow-{node}", podName="slow")
        self.reply: http.client.HTTPResponse | None = None
        self._over = threading.Event()
        self._connection = world.client(token).connect()
        self._connection.putrequest("PUT", upload.path(key))
        self._connection.putheader("Authorization", f"Bearer {token}")
        self._connection.putheader("Content-Length", str(1 << 30))
        self._connection.endheaders()
        self._connection.send(upload.head(record))
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        with contextlib.suppress(OSError):  # ended by the server
            while not self._over.wait(0.05):
                self._connection.send(b"x")
        with contextlib.suppress(OSError, http.client.HTTPException):
            self.reply = self._connection.getresponse()

    def wait(self) -> http.client.HTTPResponse | None:
        self._thread.join(60)
        return self.reply

    def close(self) -> None:
        self._over.set()
        if self._connection.sock is not None:
            self._connection.sock.close()
        self._thread.join(60)
