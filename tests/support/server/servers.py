"""`coredumpd server` as a process, from source or frozen, and a client that speaks TLS to it."""

from __future__ import annotations

import contextlib
import dataclasses
import email.message
import http.client
import json
import re
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from support import pki, waiting
from support.node import installed

BASE = "/apis/coredump.fujitsu.com/v1alpha1"
START_DEADLINE_S = 60


@dataclasses.dataclass(frozen=True)
class Reply:
    """One HTTP answer, its body read to the end."""

    code: int
    headers: email.message.Message  # names in any case
    body: bytes

    @property
    def json(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self.body)
        return document


class Client:
    """Requests to 127.0.0.1:`port`, with a client certificate or a token if given."""

    def __init__(
        self,
        port: int,
        ca_file: Path,
        certificate: tuple[Path, Path] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.address: str | None = None  # of ours, in 127.0.0.0/8
        self.port = port
        self.ca_file = ca_file
        self.certificate = certificate
        self.context = ssl.create_default_context(cafile=str(ca_file))
        if certificate is not None:
            self.context.load_cert_chain(*map(str, certificate))
        self.headers = dict(headers or {})

    def connect(self) -> http.client.HTTPSConnection:
        """A connection of its own; the caller closes it."""
        source = None if self.address is None else (self.address, 0)
        return http.client.HTTPSConnection(
            "127.0.0.1", self.port, context=self.context, timeout=30, source_address=source
        )

    def ask(
        self,
        method: str,
        path: str,
        body: object = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """One request on a connection of its own. A body that is not bytes is sent as JSON."""
        sent = {**self.headers, **(headers or {})}
        data: bytes | None = None
        if isinstance(body, bytes):
            data = body
        elif body is not None:
            data = json.dumps(body).encode()
            sent.setdefault("Content-Type", "application/json")
        with contextlib.closing(self.connect()) as connection:
            connection.request(method, path, data, sent)
            response = connection.getresponse()
            return Reply(response.status, response.headers, response.read())


class Server:
    """A running server; `log` is where its output goes."""

    def __init__(
        self, kind: str, arguments: list[str], log: Path, prefix: Sequence[str] = ()
    ) -> None:
        """`kind` is `source` or `frozen`; `prefix` is a command that starts another one."""
        program = [str(installed.FROZEN)]
        if kind == "source":
            program = [sys.executable, "-m", "coredumpd"]
        self.log = log
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                [*prefix, *program, "server", *arguments],
                cwd=installed.ROOT,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        self.port = self._wait_for_port()

    def _wait_for_port(self) -> int:
        end = time.monotonic() + START_DEADLINE_S
        while time.monotonic() < end:
            if match := re.search(r"serving on port (\d+)", self.log.read_text()):
                return int(match[1])
            if self.process.poll() is not None:
                break
            time.sleep(0.02)
        raise AssertionError(f"the server did not start:\n{self.log.read_text()}")

    def stop(self) -> int:
        """SIGTERM; returns the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=60)

    def audited(self, audit_id: str, deadline_s: float = 10) -> dict[str, Any]:
        """The audit line of one request; it is written after the answer, so wait for it."""

        def find() -> dict[str, Any] | None:
            lines = [line for line in self.log.read_text().splitlines() if line.endswith("}")]
            entries = (json.loads(line) for line in lines)
            return next((entry for entry in entries if entry.get("auditID") == audit_id), None)

        return waiting.until(f"audit line {audit_id}", find, deadline_s) or {}


def free_port() -> int:
    """A port nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def configured(
    directory: Path, objects: str, etcd_ca: str | None = None, **sections: Any
) -> tuple[list[str], Path]:
    """The arguments of a server that keeps all it has in `directory`, and its authority's file.

    `objects` is its URL, `etcd_ca` what signs etcd's certificates; `sections` are further settings.
    """
    authority = pki.Authority(directory, "serving-ca")
    certificate, key = authority.issue("coredumpd")
    settings: dict[str, Any] = {
        "server": {
            "store": f"file://{directory}/store",
            "objects": objects,
            "port": 0,
            "tlsCertFile": str(certificate),
            "tlsKeyFile": str(key),
            "shutdownDelay": "0",
            "shutdownGrace": "1s",
        }
    }
    if etcd_ca is not None:
        settings["etcd"] = {"caFile": etcd_ca}
    (directory / "store").mkdir()
    path = directory / "config.yaml"
    path.write_text(yaml.safe_dump(settings | sections))
    return ["--config", str(path)], authority.file


@contextlib.contextmanager
def running(
    kind: str, arguments: list[str], log: Path, prefix: Sequence[str] = ()
) -> Iterator[Server]:
    """A server that is stopped in the end."""
    server = Server(kind, arguments, log, prefix)
    try:
        yield server
    finally:
        if server.process.poll() is None:
            server.process.terminate()
            try:
                server.process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                server.process.kill()
                server.process.wait()
