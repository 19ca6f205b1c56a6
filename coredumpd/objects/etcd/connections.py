"""Connections to etcd's endpoints: pooled, kept alive, with TLS files that are renewed under us."""

from __future__ import annotations

import logging
import os
import socket
import ssl
import threading
from collections.abc import Sequence

import urllib3
from urllib3 import connection

from coredumpd import errors
from coredumpd.settings import backends

_POOLED_MAX = 8
# A peer that disappears without closing is noticed after 30 s, on an idle watch too.
_SOCKET_OPTIONS = [
    *connection.HTTPConnection.default_socket_options,
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 15),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 5),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
]
_log = logging.getLogger(__name__)
_FileStates = tuple[tuple[int, int] | None, ...]


class Connections:
    """One pool for each of `endpoints`. Raises StorageError when the TLS files are unusable."""

    def __init__(self, endpoints: Sequence[str], access: backends.EtcdSettings) -> None:
        self._endpoints = tuple(endpoints)
        self._access = access
        self._lock = threading.Lock()
        self._file_states = _file_states(access)
        self._pools = self._connect()

    def pool(self, endpoint: str) -> urllib3.HTTPConnectionPool:
        """The pool of connections to `endpoint`."""
        return self._pools[endpoint]

    def refresh(self) -> None:
        """Use the TLS files as they are now for new connections, if they have changed.

        Files that are unusable are logged, and the old certificates stay in use.
        """
        file_states = _file_states(self._access)
        with self._lock:
            if file_states == self._file_states:
                return
            self._file_states = file_states
            old = self._pools
            try:
                self._pools = self._connect()
            except errors.StorageError as error:
                _log.warning("the old certificates for etcd stay in use: %s", error)
                return
        for pool in old.values():
            pool.close()

    def close(self) -> None:
        """Close idle connections."""
        for pool in self._pools.values():
            pool.close()

    def _connect(self) -> dict[str, urllib3.HTTPConnectionPool]:
        pools = {}
        for endpoint in self._endpoints:
            tls = {"ssl_context": _tls(self._access)} if endpoint.startswith("https:") else {}
            pools[endpoint] = urllib3.connection_from_url(
                endpoint, maxsize=_POOLED_MAX, socket_options=_SOCKET_OPTIONS, **tls
            )
        return pools


def _tls(access: backends.EtcdSettings) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=access.caFile)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if access.certFile is not None:
            context.load_cert_chain(access.certFile, access.keyFile)
    except OSError as error:  # SSLError is one
        files = [name for name in _files(access) if name]
        raise errors.StorageError(f"TLS files for etcd ({', '.join(files)}): {error}") from error
    return context


def _file_states(access: backends.EtcdSettings) -> _FileStates:
    """Modification time and inode of each TLS file; None for one that is not set or missing."""
    states: list[tuple[int, int] | None] = []
    for path in _files(access):
        try:
            status = os.stat(path) if path is not None else None
        except OSError:
            status = None
        states.append(None if status is None else (status.st_mtime_ns, status.st_ino))
    return tuple(states)


def _files(access: backends.EtcdSettings) -> tuple[str | None, ...]:
    return access.caFile, access.certFile, access.keyFile
