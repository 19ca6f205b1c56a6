"""The trusted CAs: the ConfigMap kube-system/extension-apiserver-authentication, kept current.

kube-apiserver publishes there how it proxies requests: the CA of its proxy client certificate, the
names that certificate may carry, and the headers in which it names the user
(https://kubernetes.io/docs/tasks/extend-kubernetes/configure-aggregation-layer/).
"""

from __future__ import annotations

import dataclasses
import datetime
import json
import logging
from collections.abc import Mapping

from cryptography import x509

from coredumpd import errors
from coredumpd.apiserver.auth import certificates, interface

NAMESPACE, NAME = "kube-system", "extension-apiserver-authentication"
_PATH = f"/api/v1/namespaces/{NAMESPACE}/configmaps/{NAME}"
_TIMEOUT_S = 5.0
_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Trust:
    """One reading of the ConfigMap. Header names are lower case."""

    client_ca_pem: str = ""
    proxy_ca_pem: str = ""
    client_cas: tuple[x509.Certificate, ...] = ()
    proxy_cas: tuple[x509.Certificate, ...] = ()
    allowed_names: tuple[str, ...] = ()  # empty: any name that CA certified
    user_headers: tuple[str, ...] = ()
    uid_headers: tuple[str, ...] = ()
    group_headers: tuple[str, ...] = ()
    extra_prefixes: tuple[str, ...] = ()

    @property
    def bundle(self) -> str:
        """Both CAs as one PEM text, for the TLS layer."""
        return f"{self.client_ca_pem.strip()}\n{self.proxy_ca_pem.strip()}\n".lstrip()


def parse(data: Mapping[str, str]) -> Trust:
    """The ConfigMap's `data`. Raises SettingsError naming every key that cannot be used."""
    causes: list[errors.Cause] = []

    def bundle(key: str) -> tuple[x509.Certificate, ...]:
        try:
            return certificates.load_bundle(data.get(key, ""))
        except ValueError as error:
            causes.append(errors.Cause(key, None, f"must be PEM certificates: {error}"))
            return ()

    def names(key: str) -> tuple[str, ...]:
        try:
            value = json.loads(data.get(key) or "[]")
        except ValueError:
            value = None
        if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
            causes.append(errors.Cause(key, data.get(key), "must be a JSON list of strings"))
            return ()
        return tuple(value)

    def headers(key: str) -> tuple[str, ...]:
        return tuple(name.lower() for name in names(key))

    trust = Trust(
        client_ca_pem=data.get("client-ca-file", ""),
        proxy_ca_pem=data.get("requestheader-client-ca-file", ""),
        client_cas=bundle("client-ca-file"),
        proxy_cas=bundle("requestheader-client-ca-file"),
        allowed_names=names("requestheader-allowed-names"),
        user_headers=headers("requestheader-username-headers"),
        uid_headers=headers("requestheader-uid-headers"),
        group_headers=headers("requestheader-group-headers"),
        extra_prefixes=headers("requestheader-extra-headers-prefix"),
    )
    if causes:
        raise errors.SettingsError(f"ConfigMap {NAMESPACE}/{NAME}:", tuple(causes))
    return trust


class TrustSource:
    """Reads the ConfigMap whenever `refresh` is called, so that rotated CAs are trusted.

    `current` is None until the first successful reading; a failed one changes nothing.
    """

    def __init__(self, kube: interface.Kube) -> None:
        self._kube = kube
        self.current: Trust | None = None

    @property
    def bundle(self) -> str:
        """The trusted CAs as PEM; "" before the first reading."""
        return self.current.bundle if self.current else ""

    async def refresh(self) -> None:
        """Read the ConfigMap once. A failure is logged, and the last reading stays in force."""
        try:
            _, document = await self._kube.request("GET", _PATH, timeout_s=_TIMEOUT_S)
            trust = parse(document.get("data") or {})
        except errors.CoredumpdError as error:
            _log.warning("the trusted CAs cannot be read, the last reading stands: %s", error)
            return
        if trust != self.current:
            _log.info(
                "trust read: %d client CAs, %d proxy CAs, proxy names %s",
                len(trust.client_cas),
                len(trust.proxy_cas),
                ", ".join(trust.allowed_names) or "any",
            )
            _warn_of(trust)
            self.current = trust

    async def check(self) -> None:
        """Raises Unavailable until the ConfigMap has been read once."""
        if self.current is None:
            raise errors.Unavailable(f"ConfigMap {NAMESPACE}/{NAME} not read yet")


def _warn_of(trust: Trust) -> None:
    """TLS turns their clients away without a word, so the log says why."""
    now = datetime.datetime.now(datetime.UTC)
    for authority in (*trust.client_cas, *trust.proxy_cas):
        problem = certificates.authority_problem(authority, now)
        if problem is not None:
            name = authority.subject.rfc4514_string()
            _log.warning("the trusted authority %s %s: its clients are refused", name, problem)
