"""`coredumpd agent ship`: the half with network and credentials, and without any privilege.

It watches namespaces and pods, ships the spool to the store, writes Events, serves metrics, and
says for the guard what the guard cannot say. It writes below `<hostDir>/spool` and
`<hostDir>/shipper` alone, and reads `<hostDir>/guard`.

Tested in: tests/integration/agent/test_ship.py
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
import os
from pathlib import Path

from coredumpd import aiokit, errors
from coredumpd.agent import events, health, jobs, metrics
from coredumpd.agent.node import lock, uninstall
from coredumpd.agent.shipping import (
    attribution,
    delivery,
    guard_status,
    kept,
    report,
    sealer,
    shipper,
    stuck,
)
from coredumpd.agent.tenants import watcher
from coredumpd.agent.terminations import monitor as terminations
from coredumpd.formats import host_dir as host_dirs
from coredumpd.kube import client
from coredumpd.settings import sections
from coredumpd.spool import entries, recovery
from coredumpd.store import engines
from coredumpd.store import interface as stores

SHIP_GRACE_S = 10.0
RECOVER_EVERY_S = 60.0
# After captureTimeout and the handler's grace, a capture is in the spool, or was recovered.
RECOVERED_S = 30.0 + 2 * RECOVER_EVERY_S
_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Options:
    """The command line's part of the configuration; the rest is in the settings."""

    node: str
    kubeconfig: str | None
    kubernetes: bool


async def run(settings: sections.Settings, options: Options, stop: asyncio.Event) -> None:
    """Ship until `stop`. Raises what prevents the start."""
    os.umask(0o007)  # the store is shared with the server through its group
    host_dir = Path(settings.agent.hostDir)
    prepare(host_dir)
    with await lock.acquire(host_dir / host_dirs.SHIPPER_LOCK, stop):
        target = engines.open_target(settings.agent.store, settings.bucket, settings.upload)
        async with contextlib.AsyncExitStack() as stack:
            kube = await _connect(options)
            if kube is not None:
                await stack.enter_async_context(kube)
            await _Shipping(settings, options, host_dir, target, kube).run(stop)


def prepare(host_dir: Path) -> None:
    """Make the directories that the shipper writes. Raises StorageError."""
    try:
        for name in (host_dirs.SPOOL, host_dirs.SHIPPER):
            (host_dir / name).mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise errors.StorageError(f"hostDir {host_dir}: {error.strerror}") from error


def writable(settings: sections.Settings) -> list[Path]:
    """The directories below which the shipper writes files; all others stay as they are."""
    host_dir = Path(settings.agent.hostDir)
    directories = [host_dir / host_dirs.SPOOL, host_dir / host_dirs.SHIPPER, Path("/tmp")]  # noqa: S108
    scheme, _, path = settings.agent.store.partition("://")
    if scheme != "file":
        return directories
    return [*directories, _existing(Path(path))]


class _Shipping:
    def __init__(
        self,
        settings: sections.Settings,
        options: Options,
        host_dir: Path,
        target: stores.Target,
        kube: client.Client | None,
    ) -> None:
        agent = settings.agent
        self._node = options.node
        self._ports = (agent.port, agent.probePort)
        self._spool = entries.Spool(str(host_dir / host_dirs.SPOOL))
        self._metrics = metrics.Metrics()
        relay = target if isinstance(target, stores.EventTarget) else None
        self._events = events.Events(kube, options.node, relay)
        self._installation = uninstall.Installation(kube)
        self._recovery_problem: str | None = None
        self._jobs: dict[str, jobs.Job] = {}
        self._terminations: terminations.Monitor | None = None
        preparation = delivery.Preparation(attribution.Attributor(None, options.node))
        if kube is not None:
            preparation = self._follow_tenants(
                kube, settings.policy, host_dir, agent.unnamedPatience
            )
        reporter = report.Reporter(self._metrics, self._events, self._terminations)
        bounds = kept.Bounds(agent.keptMaxEntries, agent.keptMaxUse, agent.keptMaxAge)
        self._shares_disk = _shares_disk(agent.store, self._spool.path)
        self._keeper = kept.Keeper(self._spool, bounds, reporter, self._events)
        self._shipper = shipper.Shipper(
            self._spool,
            delivery.Delivery(target, preparation, reporter, self._keep_free),
            reporter,
            shipper.Options(agent.parallelShips, settings.crashLoop),
            self._keeper,
        )
        self._stuck = stuck.Monitor(self._shipper, self._events, agent.stuckAfter)
        self._guard = guard_status.Follower(
            host_dir, self._metrics, self._events, self._installation.ended
        )
        self._jobs |= {
            "ship": self._shipper.run,
            "stuck": self._stuck.run,
            "events": self._events.run,
            "guard": self._guard.run,
            "recover": self._recover,
            "kept": self._keeper.run,
        }

    def _follow_tenants(
        self,
        kube: client.Client,
        policy: sections.PolicySettings,
        host_dir: Path,
        unnamed_patience_s: float,
    ) -> delivery.Preparation:
        """The steps of a node with Kubernetes: whose is a dump, and what do its owners ask for?"""
        own_namespace = os.environ.get("POD_NAMESPACE") or client.own_namespace()
        scope = watcher.Scope(self._node, host_dir / host_dirs.SHIPPER, own_namespace)
        sources = terminations.Sources(
            self._spool.capturing,
            lambda: self._guard.losses(),
            lambda: self._guard.problems(),
            lambda end: tenants.rule_against(end.namespace, end.pod_uid),
        )
        self._terminations = terminations.Monitor(
            self._events, self._metrics, sources, policy.captureTimeout + RECOVERED_S
        )
        tenants = watcher.Watcher(
            kube, policy, scope, self._events, self._metrics, self._terminations.observe
        )
        self._jobs |= {"tenants": tenants.run, "terminations": self._terminations.run}
        seals = sealer.Sealer(
            kube, tenants, self._events, self._metrics, lambda: self._guard.spool_keep_free
        )
        attributor = attribution.Attributor(
            kube, self._node, tenants, unnamed_patience_s=unnamed_patience_s
        )
        return delivery.Preparation(attributor, tenants.refuses, seals)

    async def run(self, stop: asyncio.Event) -> None:
        faces = health.serve(*self._ports, self._measure, self._problems, self._notices)
        _log.info(
            "agent of node %s ready, metrics on port %d, probes on port %d",
            *(self._node, faces.port, faces.probe_port),
        )
        self._installation.begin()
        try:
            await jobs.run(self._jobs, stop, self._leave)
        finally:
            self._installation.close()
            faces.close()

    def _keep_free(self) -> int | None:
        return self._guard.spool_keep_free if self._shares_disk else 0

    async def _leave(self) -> None:
        await self._shipper.stop(SHIP_GRACE_S)
        await self._guard.end()

    def _problems(self) -> list[str]:
        """Why the agent is not well, for /healthz."""
        self._guard.refresh()
        own = (self._stuck.problem(), self._shipper.scan_problem, self._recovery_problem)
        return self._guard.problems() + [problem for problem in own if problem is not None]

    def _notices(self) -> list[str]:
        """Lines of /healthz that fail nothing."""
        return self._keeper.notices() + self._guard.notices()

    def _measure(self) -> bytes:
        self._guard.refresh()
        self._metrics.spool_entries.set(self._shipper.waiting)
        self._metrics.withheld.set(self._keeper.count)
        self._metrics.stuck_s.set(self._shipper.failing_s)
        self._metrics.silent_s.set(self._shipper.silent_s)
        return self._metrics.text()

    async def _recover(self) -> None:
        """Turn captures whose handler was killed into dumps, now and periodically."""
        while True:
            try:
                for id, outcome in await aiokit.call(recovery.recover, self._spool.path):
                    _log.info("capture %s: %s", id, outcome)
                self._recovery_problem = None
            except (errors.CoredumpdError, OSError) as error:
                problem = f"captures of killed handlers cannot be recovered: {error}"
                if problem != self._recovery_problem:
                    _log.error("%s", problem)
                self._recovery_problem = problem
            await asyncio.sleep(RECOVER_EVERY_S)


def _shares_disk(store: str, spool: str) -> bool:
    """Is the store a directory in the spool's own file system?"""
    scheme, _, path = store.partition("://")
    return scheme == "file" and os.stat(_existing(Path(path))).st_dev == os.stat(spool).st_dev


def _existing(path: Path) -> Path:
    """`path`, or the directory in which it will be made: a store is made with its first dump."""
    while not path.exists():
        path = path.parent
    return path


async def _connect(options: Options) -> client.Client | None:
    if not options.kubernetes or not (options.kubeconfig or client.in_cluster()):
        _log.info("without Kubernetes: only the runtime attributes crashes, and no Events")
        return None
    return await client.connect(options.kubeconfig)
