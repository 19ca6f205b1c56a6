"""Serves `/metrics` for Prometheus, and `/healthz` and `/livez` for the kubelet; none is secret.

The kubelet has a port of its own, so that whatever happens at the other one fails no probe.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import tornado.web

from coredumpd.agent import face


class _Metrics(tornado.web.RequestHandler):
    def initialize(self, measure: Callable[[], bytes]) -> None:
        self._measure = measure

    def get(self) -> None:
        self.set_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
        self.finish(self._measure())


class _Health(tornado.web.RequestHandler):
    def initialize(
        self, problems: Callable[[], list[str]], notices: Callable[[], list[str]] = list[str]
    ) -> None:
        self._problems = problems
        self._notices = notices

    def get(self) -> None:
        problems = self._problems()
        self.set_status(503 if problems else 200)
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.finish("\n".join([*(problems or ["ok"]), *self._notices()]) + "\n")


@dataclasses.dataclass(frozen=True)
class Faces:
    """The two open ports."""

    metrics: face.Face
    probes: face.Face
    port: int
    probe_port: int

    def close(self) -> None:
        """Accept no more."""
        self.metrics.stop()
        self.probes.stop()


def serve(
    port: int,
    probe_port: int,
    measure: Callable[[], bytes],
    problems: Callable[[], list[str]],
    notices: Callable[[], list[str]] = list[str],
) -> Faces:
    """Listen on both ports (0: any). `notices`: what /healthz says without failing.

    Raises SettingsError if a port is taken.
    """
    probes: list[Any] = [
        ("/healthz", _Health, {"problems": problems, "notices": notices}),
        ("/livez", _Health, {"problems": list[str]}),  # the event loop turns: nothing else
    ]
    metrics: list[Any] = [("/metrics", _Metrics, {"measure": measure})]
    one, port = face.listen("agent.port", port, _application(metrics + probes))
    try:
        other, probe_port = face.listen("agent.probePort", probe_port, _application(probes))
    except BaseException:
        one.stop()
        raise
    return Faces(one, other, port, probe_port)


def _application(routes: list[Any]) -> tornado.web.Application:
    return tornado.web.Application(routes, log_function=lambda _: None)  # a probe is no news
