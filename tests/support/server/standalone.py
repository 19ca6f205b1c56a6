"""`coredumpd server --standalone` before a store in which a test puts dumps."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from coredumpd.store import engines
from support import waiting
from support.server import servers


class Standalone:
    """The server that runs below `directory`, its kubeconfig there, and its store."""

    def __init__(self, directory: Path, server: servers.Server) -> None:
        self.server = server
        self.kubeconfig = directory / "server/kubeconfig"
        self.store = engines.open_store(f"file://{directory}/store")
        token = (directory / "server/token").read_text().strip()
        headers = {"Authorization": f"Bearer {token}"}
        self._client = servers.Client(server.port, directory / "server/tls.crt", headers=headers)

    def commit(self, key: Any, record: Any, core: Any, index: Any = None) -> None:
        """Store a dump, and return once the server lists it."""
        self.store.commit(key, record, core, index)
        path = f"{servers.BASE}/namespaces/{key.namespace}/coredumps"
        # A listing may be half a second old.
        waiting.until(
            "it in a listing", lambda: key.id in str(self._client.ask("GET", path).json), 30, 0.05
        )


@contextlib.contextmanager
def running(directory: Path) -> Iterator[servers.Server]:
    """A server with an empty store below `directory`; `Standalone` speaks to it."""
    (directory / "store").mkdir()
    words = ["--standalone", "--data-dir", str(directory / "server"), "--port", "0"]
    words += ["--store", f"file://{directory}/store"]
    with servers.running("source", words, directory / "server.log") as server:
        yield server
