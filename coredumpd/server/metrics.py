"""`/metrics`: counters of requests with bounded label sets, and the requests in progress.

Tested in: tests/integration/server/test_callers.py
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

import prometheus_client
from prometheus_client import exposition, metrics_core

from coredumpd.apiserver.auth import rights
from coredumpd.apiserver.http import application, connections, fairness
from coredumpd.apiserver.http import handler as handlers
from coredumpd.apiserver.rest import outgoing
from coredumpd.server import kinds

_METHODS = ("get", "head", "post", "put", "patch", "delete")
_SECONDS = (0.005, 0.025, 0.1, 0.5, 1, 5, 15, 60, 300, 1800)


class Metrics:
    """Observes all requests. Labels come from our own tables, never from a request."""

    def __init__(self) -> None:
        self.registry = prometheus_client.CollectorRegistry()
        labels = ("verb", "resource", "subresource", "code")
        self._requests = prometheus_client.Counter(
            "coredumpd_server_requests", "Requests answered.", labels, registry=self.registry
        )
        self._seconds = prometheus_client.Histogram(
            "coredumpd_server_request_seconds",
            "Time to answer, watches left out.",
            labels[:3],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._bytes = prometheus_client.Counter(
            "coredumpd_server_sent_bytes",
            "Body bytes sent.",
            ("resource", "subresource"),
            registry=self.registry,
        )
        self._active = prometheus_client.Gauge(
            "coredumpd_server_active_requests", "Requests in progress.", registry=self.registry
        )
        self._refused_objects = prometheus_client.Counter(
            "coredumpd_server_refused_objects",
            "Writes of objects that were refused, by the limit: object, count, size, history.",
            ("limit",),
            registry=self.registry,
        )
        self._slow_downloads = prometheus_client.Counter(
            "coredumpd_server_slow_downloads",
            "Downloads that were cut, since the client read more slowly than downloadMinRate.",
            registry=self.registry,
        )
        self.active: set[handlers.Handler] = set()

    def follow(self, fair: fairness.Fairness, open_: connections.Connections) -> None:
        """Expose the places that are held and refused, by kind, and the connections."""
        self.registry.register(_Places(fair, open_))

    def follow_room(self, room: outgoing.Outgoing) -> None:
        """Expose what is on its way to clients."""
        self.registry.register(_Sending(room))

    def object_refused(self, limit: str) -> None:
        """An object was not written: `limit` is object, count, size or history."""
        self._refused_objects.labels(limit).inc()

    def download_was_slow(self) -> None:
        """A download was cut, because its client read too slowly."""
        self._slow_downloads.inc()

    def began(self, handler: handlers.Handler) -> None:
        """See `handlers.Observer`."""
        self.active.add(handler)
        self._active.set(len(self.active))

    def ended(self, handler: handlers.Handler) -> None:
        """See `handlers.Observer`."""
        self.active.discard(handler)
        self._active.set(len(self.active))
        verb, resource, subresource = _labels(handler)
        self._requests.labels(verb, resource, subresource, str(handler.get_status())).inc()
        self._bytes.labels(resource, subresource).inc(handler.sent_bytes)
        if verb != "watch":
            seconds = time.monotonic() - handler.began_at
            self._seconds.labels(verb, resource, subresource).observe(seconds)

    async def idle(self, grace_s: float) -> int:
        """Wait until no request is in progress, `grace_s` at most; how many still are."""
        deadline = time.monotonic() + grace_s
        while self.active and time.monotonic() < deadline:
            await asyncio.sleep(0.05)
        return len(self.active)


class _Sending:
    """Reads how much is on its way to clients when Prometheus asks."""

    def __init__(self, room: outgoing.Outgoing) -> None:
        self._room = room

    def collect(self) -> Iterator[metrics_core.Metric]:
        """The registry's: the metrics with their present values."""
        yield metrics_core.GaugeMetricFamily(
            "coredumpd_server_sending_bytes",
            "Bytes of lists and watches on their way to clients.",
            value=self._room.used,
        )
        yield metrics_core.CounterMetricFamily(
            "coredumpd_server_cut_readers",
            "Clients that read too slowly while others waited, and were disconnected.",
            value=self._room.cuts,
        )


class _Places:
    """Reads the counters of places and connections when Prometheus asks."""

    def __init__(self, fair: fairness.Fairness, open_: connections.Connections) -> None:
        self._fairness = fair
        self._connections = open_

    def collect(self) -> Iterator[metrics_core.Metric]:
        """The registry's: the metrics with their present values."""
        used = metrics_core.GaugeMetricFamily(
            "coredumpd_server_places_used", "Places held by callers, by kind.", labels=["kind"]
        )
        refused = metrics_core.CounterMetricFamily(
            "coredumpd_server_refused_requests",
            "Requests answered 429, since the caller had its share of the places of a kind.",
            labels=["kind"],
        )
        ended = metrics_core.CounterMetricFamily(
            "coredumpd_server_ended_requests",
            "Watches ended early, since a caller with fewer needed the place.",
            labels=["kind"],
        )
        for kind, places in self._fairness.shares.items():
            used.add_metric([kind], places.used)
            refused.add_metric([kind], places.refusals)
            ended.add_metric([kind], places.ended)
        yield from (used, refused, ended)
        yield metrics_core.GaugeMetricFamily(
            "coredumpd_server_connections", "Open connections.", value=len(self._connections)
        )
        yield metrics_core.CounterMetricFamily(
            "coredumpd_server_closed_connections",
            "Connections closed to make room for others, or refused.",
            value=self._connections.closed,
        )


def _labels(handler: handlers.Handler) -> tuple[str, str, str]:
    attributes = handler.attributes
    if attributes is None or attributes.resource not in {
        kind.plural for kind in kinds.API_GROUP.kinds
    }:
        method = (handler.request.method or "").lower()
        return method if method in _METHODS else "other", "", ""
    return attributes.verb, attributes.resource, attributes.subresource


class Retention:
    """The numbers of the collector. Only a server that collects exposes them."""

    def __init__(self, registry: prometheus_client.CollectorRegistry) -> None:
        self._removals = prometheus_client.Counter(
            "coredumpd_server_removed_dumps", "Dumps removed.", ("reason",), registry=registry
        )
        self._passed_s = prometheus_client.Gauge(
            "coredumpd_server_collected_time_seconds", "When a pass last ended.", registry=registry
        )

    def removed(self, reason: str) -> None:
        """One dump was removed."""
        self._removals.labels(reason).inc()

    def passed(self) -> None:
        """A pass has ended, now."""
        self._passed_s.set(time.time())


class Uploads:
    """The numbers of uploads. Only a server that agents may send to exposes them."""

    def __init__(self, registry: prometheus_client.CollectorRegistry) -> None:
        self._refusals = prometheus_client.Counter(
            "coredumpd_server_refused_uploads", "Uploads refused.", ("reason",), registry=registry
        )

        self._evictions = prometheus_client.Counter(
            "coredumpd_server_upload_evictions",
            "Dumps removed so that an upload fits into a quota.",
            registry=registry,
        )
        self._cuts = prometheus_client.Counter(
            "coredumpd_server_cut_uploads",
            "Uploads whose record alone was kept, for want of quota.",
            registry=registry,
        )

    def count_eviction(self) -> None:
        """One dump was removed for an upload."""
        self._evictions.inc()

    def count_cut(self) -> None:
        """One upload's record alone was kept."""
        self._cuts.inc()

    def count_refusal(self, reason: str) -> None:
        """One upload was refused."""
        self._refusals.labels(reason).inc()


class Scrape(handlers.Handler):
    """`/metrics`."""

    def initialize(  # type: ignore[override]
        self, rights: rights.Rights, metrics: Metrics
    ) -> None:
        """Tornado's; the arguments come from the route."""
        self.metrics = metrics
        super().initialize(rights)

    async def get(self) -> None:
        """The text format."""
        self.answer_bytes(
            exposition.generate_latest(self.metrics.registry), exposition.CONTENT_TYPE_LATEST
        )


def routes(metrics: Metrics) -> list[application.Route]:
    """The route of the metrics."""
    return [application.Route("/metrics", Scrape, rights.Path(), {"metrics": metrics})]
