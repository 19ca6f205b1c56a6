"""A watch that goes on beside the test."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Mapping
from typing import Any

from support import waiting
from support.server import servers

_WAIT_S = 30.0


class Watch:
    """Events of `path`, collected by a thread as they come; `over` is set when they end."""

    def __init__(
        self,
        client: servers.Client,
        path: str,
        query: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.events: list[dict[str, Any]] = []
        self.over = threading.Event()
        self._connection = client.connect()
        self._connection.timeout = 120
        url, sent = f"{path}?watch=true&{query}", {**client.headers, **(headers or {})}
        self._connection.request("GET", url, headers=sent)
        self._response = self._connection.getresponse()
        if self._response.status != 200:
            told = self._response.read()
            self._connection.close()
            raise AssertionError(told)
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        with contextlib.suppress(OSError, ValueError, AttributeError):  # closed by the test
            for line in self._response:
                self.events.append(json.loads(line))
        self.over.set()

    def wait(self, count: int) -> list[tuple[str, str]]:
        """(type, name) of all events, once there are `count`."""
        waiting.until(f"{count} events", lambda: len(self.events) >= count, _WAIT_S, 0.02)
        return [(event["type"], event["object"]["metadata"].get("name")) for event in self.events]

    @property
    def revisions(self) -> list[int]:
        """The resource version of every event."""
        return [int(event["object"]["metadata"]["resourceVersion"]) for event in self.events]

    def close(self) -> None:
        """Hang up. May be called twice."""
        if self._connection.sock is None:
            return
        with contextlib.suppress(OSError):  # the server has closed it
            self._connection.sock.shutdown(socket.SHUT_RDWR)  # wakes the reader, who holds a lock
        self._thread.join(10)
        self._connection.close()
