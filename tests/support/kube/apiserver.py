"""A real kube-apiserver on loopback, with an etcd of its own: the reference for answers.

KUBEBUILDER_ASSETS names its directory; without it, the tests that compare with it are skipped.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from support import pki, waiting
from support.server import servers
from support.storage import etcd

VARIABLE = "KUBEBUILDER_ASSETS"
_READY_S = 90.0


def binary() -> str:
    """The path of kube-apiserver; skips the test, by name, where there is none."""
    path = Path(os.environ.get(VARIABLE) or "/nowhere") / "kube-apiserver"
    if not path.exists():
        pytest.skip(f"no kube-apiserver in {VARIABLE}: answers are not compared with a real one")
    return str(path)


@contextlib.contextmanager
def running(directory: Path) -> Iterator[servers.Client]:
    """A client of system:masters; the server is stopped in the end."""
    program = binary()
    authority = pki.Authority(directory, "cluster-ca")
    serving = authority.issue("kube-apiserver")
    admin = authority.issue("admin", "system:masters", names=(), usages=pki.CLIENT)
    tokens = pki.signing_key(directory, "service-accounts")
    keys, peer, port = etcd.free_ports(3)
    url, peer_url = f"http://127.0.0.1:{keys}", f"http://127.0.0.1:{peer}"
    commands = {
        "etcd": [
            etcd.binary(),
            f"--data-dir={directory / 'etcd'}",
            f"--listen-client-urls={url}",
            f"--advertise-client-urls={url}",
            f"--listen-peer-urls={peer_url}",
            f"--initial-advertise-peer-urls={peer_url}",
            f"--initial-cluster=default={peer_url}",
        ],
        "kube-apiserver": [
            program,
            f"--etcd-servers={url}",
            "--bind-address=127.0.0.1",
            f"--secure-port={port}",
            "--service-cluster-ip-range=10.99.0.0/24",
            f"--cert-dir={directory}",
            f"--tls-cert-file={serving.cert}",
            f"--tls-private-key-file={serving.key}",
            f"--client-ca-file={authority.file}",
            f"--service-account-key-file={tokens.cert}",
            f"--service-account-signing-key-file={tokens.key}",
            "--service-account-issuer=https://kubernetes.default.svc",
            "--authorization-mode=RBAC",
        ],
    }
    processes = []
    client = servers.Client(port, authority.file, (admin.cert, admin.key))
    try:
        for name, command in commands.items():
            processes.append(_start(command, directory / f"{name}.log"))
        waiting.until("kube-apiserver", lambda: _ready(client, processes), _READY_S, 0.2)
        yield client
    finally:
        for process in reversed(processes):
            process.send_signal(signal.SIGKILL)  # nothing in it is worth a goodbye
            process.wait(10)


def _start(command: list[str], log: Path) -> subprocess.Popen[bytes]:
    with log.open("wb") as output:
        return subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", "--", *command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )


def _ready(client: servers.Client, processes: list[subprocess.Popen[bytes]]) -> bool:
    for process in processes:
        if process.poll() is not None:
            raise waiting.Failed(f"{process.args!r} ended with {process.returncode}")
    with contextlib.suppress(OSError):
        ready: bool = client.ask("GET", "/readyz").code == 200
        return ready
    return False
