"""The proxy of each request: one decision for all HTTP clients, by HTTPS_PROXY and NO_PROXY.

As Go decides (golang.org/x/net/http/httpproxy), since kubectl and everything beside us in a cluster
does: NO_PROXY lists hosts, domains, addresses and CIDR ranges, which Python's own libraries do not
know. Loopback, names inside a cluster and the metadata services of clouds need no entry. For the
API of the cluster that a process runs in there is no proxy at all: `kube/` does not ask here.
"""

from __future__ import annotations

import base64
import dataclasses
import ipaddress
import os
import urllib.parse
from collections.abc import Mapping

from coredumpd import errors

RULE = "must be http://[USER:PASSWORD@]HOST[:PORT], or https://…"
_INSIDE = (
    *(".svc", ".cluster.local"),
    *("169.254.169.254", "fd00:ec2::254", "169.254.170.2", "metadata.google.internal"),
)
_PORTS = {"http": 80, "https": 443}


@dataclasses.dataclass(frozen=True)
class Proxy:
    """`url` is without credentials; `authorization` is the value of Proxy-Authorization, or None.

    `whole` has the credentials: not for logs.
    """

    url: str
    host: str
    port: int
    authorization: str | None
    whole: str = dataclasses.field(repr=False)

    @property
    def headers(self) -> dict[str, str]:
        """The headers that the proxy itself needs."""
        return {"Proxy-Authorization": self.authorization} if self.authorization else {}


@dataclasses.dataclass(frozen=True)
class Proxies:
    """The proxies of http: and https: URLs, and what is asked directly, as NO_PROXY has it."""

    by_scheme: Mapping[str, Proxy]
    excluded: tuple[str, ...] = _INSIDE

    def of(self, url: str) -> Proxy | None:
        """The proxy for a request to `url`; None: directly."""
        parts = urllib.parse.urlsplit(url)
        proxy = self.by_scheme.get(parts.scheme)
        host = (parts.hostname or "").rstrip(".")
        if proxy is None or not host or _is_loopback(host):
            return None
        port = parts.port or _PORTS[parts.scheme]
        return None if any(_matches(host, port, entry) for entry in self.excluded) else proxy


def of_environment(environ: Mapping[str, str] = os.environ) -> Proxies:
    """By HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY, in upper or lower case.

    Raises SettingsError naming the variable, never its value: that may hold a password.
    """

    def first(*names: str) -> tuple[str, str]:
        spelled = (spelling for name in names for spelling in (name, name.lower()))
        return next(((name, environ[name]) for name in spelled if environ.get(name)), ("", ""))

    by_scheme = {}
    for scheme in _PORTS:
        name, url = first(f"{scheme.upper()}_PROXY", "ALL_PROXY")
        if url:
            by_scheme[scheme] = parse(name, url)
    entries = first("NO_PROXY")[1].lower().split(",")
    listed = tuple(entry.strip() for entry in entries if entry.strip())
    return Proxies(by_scheme, (*listed, *_INSIDE))


def parse(name: str, url: str) -> Proxy:
    """The proxy at `url`; http: if it has no scheme. Raises SettingsError about `name`."""
    try:
        parts = urllib.parse.urlsplit(url if "://" in url else f"http://{url}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host or parts.scheme not in _PORTS:
        cause = errors.Cause(name, None, RULE)
        raise errors.SettingsError("the proxy cannot be used:", (cause,))
    port = port or _PORTS[parts.scheme]
    authorization = None
    if parts.username is not None:
        pair = ":".join(
            urllib.parse.unquote(part or "") for part in (parts.username, parts.password)
        )
        authorization = "Basic " + base64.b64encode(pair.encode()).decode()
    place = f"[{host}]" if ":" in host else host
    bare = f"{parts.scheme}://{place}:{port}"
    login = f"{parts.netloc.rpartition('@')[0]}@" if parts.username is not None else ""
    return Proxy(bare, host, port, authorization, f"{parts.scheme}://{login}{place}:{port}")


def _is_loopback(host: str) -> bool:
    address = _address(host)
    return host == "localhost" if address is None else address.is_loopback


def _matches(host: str, port: int, entry: str) -> bool:
    """Does an entry of NO_PROXY name this host, and this port if it names one?"""
    if entry == "*":
        return True
    address = _address(host)
    try:
        network = ipaddress.ip_network(entry, strict=False)
    except ValueError:
        pass  # a name, or an address with a port
    else:
        return address is not None and address in network
    name, _, number = entry.rpartition(":")
    if number.isdecimal() and (name.startswith("[") or ":" not in name):
        if int(number) != port:
            return False
        entry = name
    if address is not None:
        return address == _address(entry)
    domain = entry.removeprefix("*")
    return host.endswith("." + domain.removeprefix(".")) or host == domain


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host.removeprefix("[").removesuffix("]"))
    except ValueError:
        return None
