"""A server's life: listen, keep certificates and trust current, stop without cutting downloads."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
import signal
from collections.abc import Awaitable, Callable

from tornado import netutil

from coredumpd import errors
from coredumpd.apiserver.http import descriptors, listener, tls
from coredumpd.server import app as apps

REFRESH_S = 10.0
_BACKLOG = 1024
_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Listen:
    """Where and how to listen. `address` None is every interface; `port` 0 any free one."""

    address: str | None
    port: int
    cert_file: str
    key_file: str
    connections_max: int
    send_timeout_s: float
    shutdown_delay_s: float
    shutdown_grace_s: float


async def serve(
    app: apps.App,
    where: Listen,
    *,
    client_bundle: Callable[[], str] = str,
    refresh: Callable[[], Awaitable[None]] | None = None,
    ready: Callable[[int], None] = lambda _: None,
) -> None:
    """Serve until SIGTERM or SIGINT. `ready` is told the port. Raises SettingsError."""
    keys = tls.Reloader(where.cert_file, where.key_file)
    if refresh is not None:
        await refresh()
    context = await asyncio.to_thread(keys.refresh, client_bundle())
    if context is None:
        raise errors.SettingsError("no TLS key pair")
    connections = descriptors.room_for(where.connections_max)
    server = listener.Listener(app.application(), context, connections, where.send_timeout_s)
    try:
        sockets = netutil.bind_sockets(where.port, where.address, backlog=_BACKLOG)
    except OSError as error:
        cause = errors.Cause("port", where.port, f"cannot be listened on: {error.strerror}")
        raise errors.SettingsError("the server cannot listen:", (cause,)) from error
    app.start()
    server.add_sockets(sockets)
    stop = _stop_on_signals()
    keeper = asyncio.create_task(_keep_current(server, keys, client_bundle, refresh), name="keeper")
    _log.info("serving on port %d", sockets[0].getsockname()[1])
    ready(sockets[0].getsockname()[1])
    try:
        await stop.wait()
        app.stop()
        _log.info("stopping: not ready from now on")
        await asyncio.sleep(where.shutdown_delay_s)
        server.stop()
        left = await app.metrics.idle(where.shutdown_grace_s)
        if left:
            _log.warning("%d requests are cut: the grace period is over", left)
    finally:
        keeper.cancel()
        with contextlib.suppress(asyncio.CancelledError):  # we have just asked for it
            await keeper
        await server.close_all_connections()
        app.close()


async def _keep_current(
    server: listener.Listener,
    keys: tls.Reloader,
    client_bundle: Callable[[], str],
    refresh: Callable[[], Awaitable[None]] | None,
) -> None:
    while True:
        await asyncio.sleep(REFRESH_S)
        if refresh is not None:
            await refresh()
        try:
            context = await asyncio.to_thread(keys.refresh, client_bundle())
        except errors.SettingsError as error:
            _log.warning("the old TLS certificate stays in use: %s", error)
            continue
        if context is not None:
            server.use(context)
            _log.info("TLS certificate and trusted CAs reloaded")


def _stop_on_signals() -> asyncio.Event:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop
