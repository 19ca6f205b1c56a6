"""The parts of a server put together: what answers which path, asking whom."""

from __future__ import annotations

import dataclasses

from tornado import web

from coredumpd import errors, objects
from coredumpd.objects import compaction
from coredumpd.server import (
    backtraces,
    cluster,
    coredumps,
    discovery,
    downloads,
    endpoints,
    intake,
    inventory,
    metrics,
    openapi,
    probes,
    resources,
)
from coredumpd.web import access, base, callers


@dataclasses.dataclass(frozen=True)
class Outside:
    """Everything a server depends on: decided by who starts it, in a cluster or standing alone."""

    engine: objects.Engine
    store: inventory.Store
    authenticator: callers.Authenticator
    authorizer: access.Authorizer
    cluster: cluster.Cluster
    checks: dict[str, probes.Check]
    uploads: intake.Uploads | None = None  # agents may send dumps


class App:
    """One server's handlers and what they share."""

    def __init__(self, outside: Outside) -> None:
        self._compactor = compaction.Compactor(outside.engine)
        self.stored = inventory.Inventory(outside.store)
        self.endpoints = endpoints.Endpoints(outside.engine, self.stored, outside.cluster)
        self.coredumps = coredumps.Coredumps(self.stored)
        self.metrics = metrics.Metrics()
        self.stopping = False
        self._uploads = outside.uploads
        self._guard = base.Guard(outside.authenticator, outside.authorizer, self.metrics)
        self._checks = {
            "store": self.stored.check,
            "objects": self.endpoints.check,
            "shutdown": self._not_stopping,
            **outside.checks,
        }

    def routes(self) -> list[base.Route]:
        """The whole route table."""
        return [
            *discovery.routes(),
            *openapi.routes(),
            *probes.routes(self._checks),
            *metrics.routes(self.metrics),
            *resources.routes(self.endpoints),
            *resources.routes(self.coredumps),
            *downloads.routes(self.endpoints, self.stored),
            *downloads.routes(self.coredumps, self.stored),
            *backtraces.routes(self.coredumps, self.stored),
            *intake.routes(self._uploads),
        ]

    def application(self) -> web.Application:
        """The Tornado application; every handler class in it has a policy."""
        return base.application(self.routes(), self._guard)

    def start(self) -> None:
        """Begin to follow what others write. Call on the event loop."""
        self.endpoints.start()
        self.coredumps.start()

    def stop(self) -> None:
        """Not ready from now on, and watches end: their clients find another server."""
        self.stopping = True
        self.endpoints.feed.close()
        self.coredumps.feed.close()

    def close(self) -> None:
        """Free stores and threads."""
        self._compactor.close()
        self.coredumps.close()
        self.stored.close()
        self.endpoints.close()

    async def _not_stopping(self) -> None:
        if self.stopping:
            raise errors.Unavailable("this server is shutting down")
