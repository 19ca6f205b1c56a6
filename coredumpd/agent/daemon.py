"""`coredumpd agent run`: the parts put together, and the order they start and stop in.

Tested in: tests/integration/agent/test_ship.py
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
import os
import signal
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from coredumpd import aiokit
from coredumpd.agent import events, health, metrics
from coredumpd.agent.node import install, lock, ownership, uninstall
from coredumpd.agent.shipping import attribution, delivery, report, sealer, shipper, stuck
from coredumpd.agent.skipped import accounting
from coredumpd.agent.tenants import policy_file, watcher
from coredumpd.formats import host_dir as host_dirs
from coredumpd.kube import client
from coredumpd.settings import sections
from coredumpd.spool import entries, recovery
from coredumpd.store import engines
from coredumpd.store import interface as stores

SHIP_GRACE_S = 10.0
RECOVER_EVERY_S = 60.0
_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Options:
    """The command line's part of the configuration; the rest is in the settings."""

    node: str
    kubeconfig: str | None
    kubernetes: bool
    restore: bool
    own_kernel: bool


async def run(settings: sections.Settings, options: Options) -> None:
    """Run until SIGTERM or SIGINT. Raises what prevents the start."""
    os.umask(0o007)  # the store is shared with the server through its group
    host_dir = Path(settings.agent.hostDir)
    install.prepare(host_dir)
    with await lock.acquire(host_dir):
        policy_file.write(host_dir, settings.policy, options.node)
        target = engines.open_target(settings.agent.store, settings.bucket, settings.upload)
        async with contextlib.AsyncExitStack() as stack:
            kube = await _connect(options)
            if kube is not None:
                await stack.enter_async_context(kube)
            await _Daemon(settings, options, host_dir, target, kube).run()


class _Daemon:
    def __init__(
        self,
        settings: sections.Settings,
        options: Options,
        host_dir: Path,
        target: stores.Target,
        kube: client.Client | None,
    ) -> None:
        agent = settings.agent
        self._options = options
        self._port = agent.port
        self._spool = entries.Spool(str(host_dir / host_dirs.SPOOL))
        self._metrics = metrics.Metrics()
        self._events = events.Events(kube, options.node)
        self._installation = uninstall.Installation(kube)
        self._jobs: dict[str, Callable[[], Coroutine[Any, Any, None]]] = {}
        preparation = delivery.Preparation(attribution.Attributor(kube, options.node))
        if kube is not None:
            preparation = self._follow_tenants(kube, settings.policy, host_dir, preparation)
        reporter = report.Reporter(self._metrics, self._events)
        self._shipper = shipper.Shipper(
            self._spool,
            delivery.Delivery(target, preparation, reporter),
            reporter,
            shipper.Options(agent.parallelShips, settings.crashLoop),
        )
        self._stuck = stuck.Monitor(self._shipper, self._events, agent.stuckAfter)
        self._node: ownership.Ownership = ownership.NoOwnership()
        if options.own_kernel:
            self._node = ownership.OwnNode(host_dir, agent, self._metrics, self._events)
            accountant = accounting.Accountant(self._metrics, self._events, self._spool)
            self._jobs["skips"] = accountant.run
        self._jobs |= {
            "ship": self._shipper.run,
            "stuck": self._stuck.run,
            "events": self._events.run,
            "recover": self._recover,
            **self._node.jobs,
        }

    def _follow_tenants(
        self,
        kube: client.Client,
        policy: sections.PolicySettings,
        host_dir: Path,
        preparation: delivery.Preparation,
    ) -> delivery.Preparation:
        """Add the steps that namespaces and pods can ask for by annotations."""
        own_namespace = os.environ.get("POD_NAMESPACE") or client.own_namespace()
        scope = watcher.Scope(self._options.node, host_dir, own_namespace)
        tenants = watcher.Watcher(kube, policy, scope, self._events)
        self._jobs["tenants"] = tenants.run
        seals = sealer.Sealer(kube, tenants, self._events, self._metrics)
        return dataclasses.replace(preparation, refuses=tenants.refuses, sealer=seals)

    async def run(self) -> None:
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        server, port = health.serve(self._port, self._measure, self._problems)
        await self._node.start()
        _log.info("agent of node %s ready, metrics on port %d", self._options.node, port)
        self._installation.begin()
        tasks = [asyncio.create_task(job(), name=name) for name, job in self._jobs.items()]
        tasks.append(asyncio.create_task(_until(stop), name="stop"))
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()  # raises what broke a job; only `stop` returns
            _log.info("stopping")
            await self._node.stop()
            await self._shipper.stop(SHIP_GRACE_S)
            await self._node.leave(self._is_end)
        finally:
            self._installation.close()
            for task in tasks:
                task.cancel()
            server.stop()

    def _problems(self) -> list[str]:
        """Why the agent is not well, for /healthz."""
        problem = self._stuck.problem()
        return self._node.problems() + ([] if problem is None else [problem])

    def _measure(self) -> bytes:
        self._metrics.spool_entries.set(self._shipper.waiting)
        self._metrics.stuck_s.set(self._shipper.failing_s)
        self._metrics.silent_s.set(self._shipper.silent_s)
        return self._metrics.text()

    async def _is_end(self) -> bool:
        return self._options.restore or await self._installation.ended()

    async def _recover(self) -> None:
        """Turn captures whose handler was killed into dumps, now and periodically."""
        while True:
            for id, outcome in await aiokit.call(recovery.recover, self._spool.path):
                _log.info("capture %s: %s", id, outcome)
            await asyncio.sleep(RECOVER_EVERY_S)


async def _until(event: asyncio.Event) -> None:
    await event.wait()


async def _connect(options: Options) -> client.Client | None:
    if not options.kubernetes or not (options.kubeconfig or client.in_cluster()):
        _log.info("without Kubernetes: only the runtime attributes crashes, and no Events")
        return None
    return await client.connect(options.kubeconfig)
