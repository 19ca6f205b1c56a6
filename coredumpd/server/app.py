"""The parts of a server put together: the route table, and what its handlers share."""

from __future__ import annotations

import dataclasses

from coredumpd import errors
from coredumpd.apiserver.auth import interface
from coredumpd.apiserver.http import application as applications
from coredumpd.apiserver.http import connections, fairness, handler, listener, probes
from coredumpd.apiserver.rest import discovery, openapi, outgoing
from coredumpd.apiserver.rest import resource as resources
from coredumpd.objects import compaction
from coredumpd.objects import interface as objects_interface
from coredumpd.server import cluster as clusters
from coredumpd.server import kinds, metrics, schemas
from coredumpd.server.coredumps import resource
from coredumpd.server.downloads import archive, backtrace, core
from coredumpd.server.dumps import inventory, own_namespace
from coredumpd.server.endpoints import resource as endpoints
from coredumpd.server.uploads import event_reports, intake
from coredumpd.settings import limits as bounds


@dataclasses.dataclass(frozen=True)
class Outside:
    """Everything that differs between a server in a cluster and a standalone one."""

    engine: objects_interface.Engine
    store: own_namespace.Store
    authenticator: interface.Authenticator
    authorizer: interface.Authorizer
    cluster: clusters.Cluster
    checks: dict[str, probes.Check]
    uploads: intake.Uploads | None = None  # agents may send dumps
    pacing: archive.Pacing = dataclasses.field(default_factory=archive.Pacing)
    sending_bytes_max: int = outgoing.BYTES_MAX
    connections_max: int = handler.CONNECTIONS_MAX
    limits: fairness.Limits = dataclasses.field(default_factory=fairness.Limits)
    object_limits: bounds.ObjectLimitsSettings = dataclasses.field(
        default_factory=bounds.ObjectLimitsSettings
    )


class App:
    """One server's handlers and what they share."""

    def __init__(self, outside: Outside) -> None:
        self._compactor = compaction.Compactor(outside.engine)
        self.inventory = inventory.Inventory(own_namespace.Guard(outside.store, outside.cluster))
        self.metrics = metrics.Metrics()
        self.endpoints = endpoints.Endpoints(
            outside.engine,
            self.inventory,
            outside.cluster,
            outside.object_limits,
            self.metrics.object_refused,
        )
        self.coredumps = resource.Coredumps(self.inventory)
        self.stopping = False
        self._room = outgoing.Outgoing(outside.sending_bytes_max)
        self.metrics.follow_room(self._room)
        self._pacing = dataclasses.replace(
            outside.pacing, count_slow=self.metrics.download_was_slow
        )
        self._uploads = outside.uploads
        if self._uploads is not None:
            counters = metrics.Uploads(self.metrics.registry)
            self._uploads.observe(counters)
        self.connections = connections.Connections(listener.room_for(outside.connections_max))
        self._guard = handler.Guard(
            outside.authenticator,
            outside.authorizer,
            self.metrics,
            fairness.Fairness(outside.limits.within(self.connections.most)),
            self.connections,
        )
        self.metrics.follow(self._guard.fairness, self.connections)
        self._checks = {
            "store": self.inventory.check,
            "objects": self.endpoints.check,
            "shutdown": self._not_stopping,
            **outside.checks,
        }

    def routes(self) -> list[applications.Route]:
        """The whole route table."""
        coredump_archives = archive.routes(self.coredumps, self.inventory, self._pacing)
        return [
            *discovery.routes(kinds.API_GROUP),
            *openapi.routes(kinds.API_GROUP, schemas.all_schemas()),
            *probes.routes(self._checks),
            *metrics.routes(self.metrics),
            *resources.routes(kinds.API_GROUP, self.endpoints, self._room),
            *resources.routes(kinds.API_GROUP, self.coredumps, self._room),
            *archive.routes(self.endpoints, self.inventory, self._pacing),
            *coredump_archives,
            *backtrace.routes(self.coredumps, self.inventory),
            *core.routes(coredump_archives),
            *intake.routes(self._uploads),
            *event_reports.routes(self._uploads.events if self._uploads else None),
        ]

    def application(self) -> applications.Application:
        """The Tornado application."""
        return applications.application(self.routes(), self._guard)

    def start(self) -> None:
        """Begin to follow what others write. Call on the event loop."""
        self.endpoints.start()
        self.coredumps.start()

    def stop(self) -> None:
        """Not ready from now on, and watches end: their clients find another server."""
        self.stopping = True
        self.endpoints.changes.close()
        self.coredumps.changes.close()

    async def idle(self, grace_s: float) -> int:
        """Wait until no request is in progress, `grace_s` at most; how many still are."""
        return await self.metrics.idle(grace_s)

    def close(self) -> None:
        """Free stores and threads."""
        self._compactor.close()
        self.coredumps.close()
        self.inventory.close()
        self.endpoints.close()

    async def _not_stopping(self) -> None:
        if self.stopping:
            raise errors.Unavailable("this server is shutting down")
