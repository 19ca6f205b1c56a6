"""`coredumpd agent run`: the parts put together, and the order they start and stop in."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
import signal
from pathlib import Path
from typing import Any

from coredumpd import aiokit, errors
from coredumpd.agent import events, health, metrics
from coredumpd.agent.node import capture_socket, guard, install, sysctls, uninstall
from coredumpd.agent.shipping import attribution, delivery, report, sealer, shipper, stuck
from coredumpd.agent.skipped import accounting
from coredumpd.agent.tenants import policy_file
from coredumpd.agent.tenants import watcher as tenants
from coredumpd.formats import host_dir as host_dirs
from coredumpd.kube import client
from coredumpd.settings import sections
from coredumpd.spool import entries, recovery
from coredumpd.store import engines as stores
from coredumpd.store import interface

SHIP_GRACE_S = 10.0
CLEAN_EVERY_S = 600.0
RECOVER_EVERY_S = 60.0
FIND_EVERY_S = 10.0
FIND_GRACE_S = 5.0
LOCK_WAIT_S = 60.0
_log = logging.getLogger(__name__)


class Options:
    """What the command line says; the rest is in the settings."""

    def __init__(
        self, node: str, kubeconfig: str | None, kubernetes: bool, restore: bool, own_kernel: bool
    ) -> None:
        self.node = node
        self.kubeconfig = kubeconfig
        self.kubernetes = kubernetes
        self.restore = restore
        self.own_kernel = own_kernel


def core_sysctls(host_dir: Path, agent: sections.AgentSettings, line: str) -> sysctls.CoreSysctls:
    """The node's core settings as `agent` wants them."""
    return sysctls.CoreSysctls(host_dir, line, agent.corePipeLimit, agent.suidDumpable)


async def run(settings: sections.Settings, options: Options) -> None:
    """Run until SIGTERM or SIGINT.

    Raises what makes starting impossible.
    """
    os.umask(0o007)  # the store is shared with the server through its group
    host_dir = Path(settings.agent.hostDir)
    install.prepare(host_dir)
    with await _sole_agent(host_dir):
        policy_file.write(host_dir, settings.policy, options.node)
        spool = entries.Spool(str(host_dir / host_dirs.SPOOL))
        target = stores.open_target(settings.agent.store, settings.bucket, settings.upload)
        async with contextlib.AsyncExitStack() as stack:
            api = await _connect(options)
            if api is not None:
                await stack.enter_async_context(api)
            await _Daemon(settings, options, host_dir, spool, target, api).run()


class _Daemon:
    def __init__(
        self,
        settings: sections.Settings,
        options: Options,
        host_dir: Path,
        spool: entries.Spool,
        target: interface.Target,
        api: client.Client | None,
    ) -> None:
        agent = settings.agent
        self._options = options
        self._host_dir = host_dir
        self._api = api
        self._metrics = metrics.Metrics()
        self._events = events.Events(api, options.node)
        self._reporter = report.Reporter(self._metrics, self._events)
        attributor = attribution.Attributor(api, options.node)
        self._tenants: tenants.Watcher | None = None
        seals: sealer.Sealer | None = None
        if api is not None:
            self._tenants = tenants.Watcher(
                api,
                settings.policy,
                options.node,
                host_dir,
                self._events,
                os.environ.get("POD_NAMESPACE") or client.own_namespace(),
            )
            seals = sealer.Sealer(api, self._tenants, self._events, self._metrics)
        refuses = self._tenants.refuses if self._tenants else lambda _: False
        preparation = delivery.Preparation(attributor, refuses, seals)
        self._shipper = shipper.Shipper(
            spool,
            delivery.Delivery(target, preparation, self._reporter),
            self._reporter,
            shipper.Options(agent.parallelShips, settings.crashLoop),
        )
        self._stuck = stuck.Monitor(self._shipper, self._events, agent.stuckAfter)
        self._spool = spool
        self._port = agent.port
        self._kernel: sysctls.CoreSysctls | None = None
        self._guard: guard.Guard | None = None
        self._listening: capture_socket.Listening | None = None
        if options.own_kernel:
            self._kernel = core_sysctls(host_dir, agent, install.install(host_dir))
            self._guard = guard.Guard(self._kernel, self._metrics, self._events)
            if agent.capture == "socket":
                _require_sockets(host_dir)
                self._listening = capture_socket.Listening(
                    host_dir, self._kernel, agent.corePipeLimit, self._metrics
                )

    async def run(self) -> None:
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        server, port = health.serve(self._port, self._measure, self._problems)
        if self._kernel is not None:
            self._kernel.save_original()
            self._kernel.apply()
            _log.info("core_pattern is %s", self._kernel.pattern)
        if self._listening is not None:
            await self._listening.start()
        _log.info("agent of node %s ready, metrics on port %d", self._options.node, port)
        finding = asyncio.create_task(self._find_daemon_set(), name="daemonset")
        jobs = {"ship": self._shipper.run(), "stuck": self._stuck.run()}
        jobs |= {"tell": self._events.run(), "recover": self._recover()}
        if self._guard is not None:
            watcher = accounting.Accountant(self._metrics, self._events, self._spool)
            jobs |= {"guard": self._guard.run(), "clean": self._clean(), "skips": watcher.run()}
        if self._tenants is not None:
            jobs["tenants"] = self._tenants.run()
        if self._listening is not None:
            jobs["listen"] = self._listening.run()
        jobs["stop"] = _until(stop)
        tasks = {name: asyncio.create_task(job, name=name) for name, job in jobs.items()}
        try:
            done, _ = await asyncio.wait(tasks.values(), return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()  # raises what broke a job; only `stop` returns
            _log.info("stopping")
            if self._listening is not None:
                tasks["listen"].cancel()
                await asyncio.wait([tasks["listen"]])
                await self._listening.stop()
            await self._shipper.stop(SHIP_GRACE_S)
            await self._leave(finding)
        finally:
            finding.cancel()
            for task in tasks.values():
                task.cancel()
            server.stop()

    def _problems(self) -> list[str]:
        """Why the agent is not well, for /healthz."""
        found = []
        if self._guard is not None and not self._guard.ours:
            found.append("core_pattern is not ours")
        problem = self._stuck.problem()
        return found if problem is None else [*found, problem]

    def _measure(self) -> bytes:
        self._metrics.spool_entries.set(self._shipper.waiting)
        self._metrics.stuck_s.set(self._shipper.failing_s)
        self._metrics.silent_s.set(self._shipper.silent_s)
        return self._metrics.text()

    async def _recover(self) -> None:
        """Captures whose handler was killed become dumps, now and whenever it happens."""
        while True:
            for id, what in await aiokit.call(recovery.recover, self._spool.path):
                _log.info("capture %s: %s", id, what)
            await asyncio.sleep(RECOVER_EVERY_S)

    async def _clean(self) -> None:
        while True:
            for version in install.remove_old(self._host_dir):
                _log.info("removed the old handler version %s", version)
            await asyncio.sleep(CLEAN_EVERY_S)

    async def _find_daemon_set(self) -> uninstall.DaemonSet | None:
        if self._api is None:
            return None
        while True:
            try:
                return await uninstall.find(self._api)
            except errors.CoredumpdError as error:
                _log.info("not known yet which DaemonSet we belong to: %s", error)
                await asyncio.sleep(FIND_EVERY_S)

    async def _leave(self, finding: asyncio.Task[uninstall.DaemonSet | None]) -> None:
        """Restore and remove if this is the end of the installation."""
        if self._kernel is None:
            return
        ending = self._options.restore
        if not ending and self._api is not None:
            await asyncio.wait([finding], timeout=FIND_GRACE_S)  # a stop right after the start
            ours = finding.result() if finding.done() else None
            ending = ours is not None and await uninstall.uninstalled(self._api, ours)
        if not ending:
            _log.info("the handler stays in place and captures until the next agent comes")
            return
        _log.info("%s", self._kernel.restore())
        left = install.remove_all(self._host_dir)
        if left:
            _log.warning(
                "%d unshipped dumps stay in %s", len(left), self._host_dir / host_dirs.SPOOL
            )


def _require_sockets(host_dir: Path) -> None:
    problem = capture_socket.problem(host_dir)
    if problem is not None:
        cause = errors.Cause("agent.capture", "socket", problem)
        raise errors.SettingsError("the configuration does not fit this node:", (cause,))


async def _until(event: asyncio.Event) -> None:
    await event.wait()


async def _connect(options: Options) -> client.Client | None:
    if not options.kubernetes or not (options.kubeconfig or client.in_cluster()):
        _log.info("without Kubernetes: attribution is the runtime's word, no Events")
        return None
    return await client.connect(options.kubeconfig)


async def _sole_agent(host_dir: Path) -> contextlib.closing[Any]:
    """Hold the node's lock while open; wait a while for an agent that is stopping.

    Local disk, so flock(2) is honest here. Raises Conflict.
    """
    lock = (host_dir / host_dirs.AGENT_LOCK).open("w")
    for _ in range(int(LOCK_WAIT_S)):
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return contextlib.closing(lock)
        except BlockingIOError:
            _log.info("another agent still runs on %s, waiting", host_dir)
            await asyncio.sleep(1)
    lock.close()
    raise errors.Conflict(f"another agent owns {host_dir}")
