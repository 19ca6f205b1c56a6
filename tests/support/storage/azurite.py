"""Azurite, Microsoft's own emulator of Azure Blob Storage: a real HTTP server with real signatures.

An npm package; `make test` installs it where there is npm. Account and key are the ones its
documentation publishes: they open nothing but emulators.
"""

from __future__ import annotations

import base64
import email.utils
import hashlib
import hmac
import shutil
import subprocess
import urllib.request
from pathlib import Path

from support import waiting
from support.node import installed
from support.storage import ceph

VERSION = "3.35.0"  # the last that Debian's node runs
PROGRAM = installed.ROOT / ".cache/azurite/node_modules/.bin/azurite-blob"
ACCOUNT = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
_API = "2021-12-02"


def missing() -> str | None:
    """Why Azurite cannot run here; None if it can."""
    if shutil.which("node") is None:
        return "node is not installed (Debian package: nodejs)"
    if not PROGRAM.exists():
        return f"npm package azurite@{VERSION} is not installed: make azurite"
    return None


class Azurite:
    """One that keeps everything in memory, in `directory`."""

    def __init__(self, directory: Path) -> None:
        port = ceph.free_port()
        words = ["--inMemoryPersistence", "--skipApiVersionCheck", "--silent", "--disableTelemetry"]
        listen = ["--blobHost", "127.0.0.1", "--blobPort", str(port)]
        self._log = (directory / "azurite.log").open("wb")
        self._child = subprocess.Popen(
            [PROGRAM, *words, *listen], cwd=directory, stdout=self._log, stderr=self._log
        )
        self.endpoint = f"http://127.0.0.1:{port}/{ACCOUNT}"
        waiting.until("Azurite answers", lambda: ceph.answers(port), 60)

    def __enter__(self) -> Azurite:
        return self

    def __exit__(self, *_: object) -> None:
        self._child.terminate()
        self._child.wait(30)
        self._log.close()

    def container(self, name: str) -> dict[str, str]:
        """Make a container; the `bucket` settings that reach it."""
        headers = {"x-ms-date": email.utils.formatdate(usegmt=True), "x-ms-version": _API}
        said = "".join(f"{field}:{value}\n" for field, value in headers.items())
        # "Authorize with Shared Key" of Azure's documentation: eleven empty standard headers.
        text = f"PUT{chr(10) * 12}{said}/{ACCOUNT}/{ACCOUNT}/{name}\nrestype:container"
        mac = hmac.digest(base64.b64decode(KEY), text.encode(), hashlib.sha256)
        headers["Authorization"] = f"SharedKey {ACCOUNT}:{base64.b64encode(mac).decode()}"
        url = f"{self.endpoint}/{name}?restype=container"
        with urllib.request.urlopen(
            urllib.request.Request(url, method="PUT", headers=headers), timeout=30
        ):
            return {"endpoint": self.endpoint, "account": ACCOUNT}
