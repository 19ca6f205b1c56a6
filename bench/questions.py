"""Ask servers the same questions again and again, until standard input ends.

A process of its own, because the flood that its parent makes would slow it. The argument is a JSON
list of questions; each is asked by a thread of its own, on a new connection each time. Prints one
JSON list a question: [seconds, HTTP status] of each answer, where status 0 is no answer.
"""

from __future__ import annotations

import dataclasses
import http.client
import json
import ssl
import sys
import threading
import time
from collections.abc import Mapping
from typing import Any

PAUSE_S = 0.05
TIMEOUT_S = 30.0


@dataclasses.dataclass(frozen=True)
class Question:
    """GET `path` at 127.0.0.1:`port`, from `address`; over TLS if there is a `ca_file`."""

    port: int
    path: str
    address: str = "127.0.0.1"
    ca_file: str = ""
    certificate: tuple[str, str] | tuple[()] = ()
    headers: Mapping[str, str] = dataclasses.field(default_factory=dict)


class Asker(threading.Thread):
    """Asks one question until it is over."""

    def __init__(self, question: Question, over: threading.Event) -> None:
        super().__init__()
        self.answers: list[tuple[float, int]] = []
        self._question = question
        self._over = over
        self._context: ssl.SSLContext | None = None
        if question.ca_file:
            self._context = ssl.create_default_context(cafile=question.ca_file)
            if question.certificate:
                self._context.load_cert_chain(*question.certificate)

    def run(self) -> None:
        while not self._over.is_set():
            begun = time.monotonic()
            status = self._ask()
            self.answers.append((time.monotonic() - begun, status))
            self._over.wait(PAUSE_S)

    def _ask(self) -> int:
        connection = self._connection()
        try:
            connection.request("GET", self._question.path, headers=dict(self._question.headers))
            response = connection.getresponse()
            response.read()
        except (OSError, http.client.HTTPException):
            return 0
        finally:
            connection.close()
        return response.status

    def _connection(self) -> http.client.HTTPConnection:
        source = (self._question.address, 0)
        port = self._question.port
        if self._context is None:
            return http.client.HTTPConnection(
                "127.0.0.1", port, timeout=TIMEOUT_S, source_address=source
            )
        return http.client.HTTPSConnection(
            "127.0.0.1", port, context=self._context, timeout=TIMEOUT_S, source_address=source
        )


def main(text: str) -> None:
    questions: list[dict[str, Any]] = json.loads(text)
    over = threading.Event()
    askers = [Asker(Question(**question), over) for question in questions]
    for asker in askers:
        asker.start()
    sys.stdin.read()
    over.set()
    for asker in askers:
        asker.join()
    print(json.dumps([asker.answers for asker in askers]))


if __name__ == "__main__":
    main(sys.argv[1])
