"""A server's life: listen, keep certificates and trust current, stop without cutting downloads.

Tested in: tests/integration/server/test_lifecycle.py
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
import signal
from collections.abc import Awaitable, Callable
from typing import Protocol

from tornado import netutil, web

from coredumpd import errors
from coredumpd.apiserver.http import connections, listener, tls

REFRESH_S = 10.0
_BACKLOG = 1024
_log = logging.getLogger(__name__)


class App(Protocol):
    """The application that is served, and its life."""

    def application(self) -> web.Application:
        """The routes as a Tornado application."""

    def start(self) -> None:
        """Called on the event loop, before the first request."""

    def stop(self) -> None:
        """Not ready from now on; end what would never end by itself, such as watches."""

    async def idle(self, grace_s: float) -> int:
        """Wait until no request is in progress, `grace_s` at most; how many still are."""

    def close(self) -> None:
        """Called once, after the last request."""

    @property
    def connections(self) -> connections.Connections:
        """The connections that the listener shall keep, and their limit."""


@dataclasses.dataclass(frozen=True)
class Options:
    """How to serve. `address` None is every interface; `port` 0 is any free one.

    `refresh_every_s`: how often the certificate's files and the trusted CAs are read again.
    """

    address: str | None
    port: int
    cert_file: str
    key_file: str
    send_timeout_s: float
    shutdown_delay_s: float
    shutdown_grace_s: float
    refresh_every_s: float = REFRESH_S


async def serve(
    app: App,
    options: Options,
    *,
    client_bundle: Callable[[], str] = str,
    refresh: Callable[[], Awaitable[None]] | None = None,
    ready: Callable[[int], None] = lambda _: None,
) -> None:
    """Serve `app` until SIGTERM or SIGINT. Raises SettingsError.

    `client_bundle` gives the CAs of clients, PEM; `refresh` is called before the first request and
    then every `refresh_every_s`; `ready` is called with the port once connections are accepted.
    """
    keys = tls.Reloader(options.cert_file, options.key_file)
    if refresh is not None:
        await refresh()
    context = await asyncio.to_thread(keys.refresh, client_bundle())
    if context is None:
        raise errors.SettingsError("no TLS key pair")
    timeouts = listener.Timeouts(send_s=options.send_timeout_s)
    server = listener.Listener(app.application(), context, app.connections, timeouts)
    try:
        sockets = netutil.bind_sockets(options.port, options.address, backlog=_BACKLOG)
    except OSError as error:
        cause = errors.Cause("port", options.port, f"cannot be listened on: {error.strerror}")
        raise errors.SettingsError("the server cannot listen:", (cause,)) from error
    app.start()
    server.add_sockets(sockets)
    stop = _stop_on_signals()
    renewal = asyncio.create_task(
        _renew(server, keys, client_bundle, refresh, options.refresh_every_s), name="renewal"
    )
    _log.info("serving on port %d", sockets[0].getsockname()[1])
    ready(sockets[0].getsockname()[1])
    try:
        await stop.wait()
        app.stop()
        _log.info("stopping: not ready from now on")
        await asyncio.sleep(options.shutdown_delay_s)
        server.stop()
        unfinished = await app.idle(options.shutdown_grace_s)
        if unfinished:
            _log.warning("%d requests are cut: the grace period is over", unfinished)
    finally:
        renewal.cancel()
        with contextlib.suppress(asyncio.CancelledError):  # we have just cancelled it
            await renewal
        await server.close_all_connections()
        app.close()


async def _renew(
    server: listener.Listener,
    keys: tls.Reloader,
    client_bundle: Callable[[], str],
    refresh: Callable[[], Awaitable[None]] | None,
    every_s: float,
) -> None:
    while True:
        await asyncio.sleep(every_s)
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
