"""Serves `/metrics` for Prometheus and `/healthz` for the kubelet; neither is secret."""

from __future__ import annotations

from collections.abc import Callable

import tornado.httpserver
import tornado.netutil
import tornado.web

from coredumpd import errors

HEADER_BYTES_MAX = 16 * 1024


class _Metrics(tornado.web.RequestHandler):
    def initialize(self, measure: Callable[[], bytes]) -> None:
        self._measure = measure

    def get(self) -> None:
        self.set_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
        self.finish(self._measure())


class _Health(tornado.web.RequestHandler):
    def initialize(self, problems: Callable[[], list[str]]) -> None:
        self._problems = problems

    def get(self) -> None:
        problems = self._problems()
        self.set_status(503 if problems else 200)
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.finish("\n".join(problems or ["ok"]) + "\n")


def serve(
    port: int, measure: Callable[[], bytes], problems: Callable[[], list[str]]
) -> tuple[tornado.httpserver.HTTPServer, int]:
    """Listen on `port` (0: any); return server and port. Raises SettingsError if it is taken."""
    application = tornado.web.Application(
        [
            ("/metrics", _Metrics, {"measure": measure}),
            ("/healthz", _Health, {"problems": problems}),
        ],
        log_function=lambda _: None,  # a probe every 5 s is no news
    )
    server = tornado.httpserver.HTTPServer(application, max_header_size=HEADER_BYTES_MAX)
    try:
        sockets = tornado.netutil.bind_sockets(port)
    except OSError as error:
        cause = errors.Cause("agent.port", port, f"cannot be listened on: {error.strerror}")
        raise errors.SettingsError("the configuration is wrong:", (cause,)) from error
    server.add_sockets(sockets)
    return server, sockets[0].getsockname()[1]
