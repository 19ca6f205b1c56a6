"""Whom to believe: the ConfigMap kube-system/extension-apiserver-authentication, parsed.

kube-apiserver publishes there how it proxies requests: the CA of its proxy client certificate, the
names that certificate may carry, and the headers in which it names the user
(https://kubernetes.io/docs/tasks/extend-kubernetes/configure-aggregation-layer/).
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping

from cryptography import x509

from coredumpd import errors
from coredumpd.apiserver.auth import certificates

NAMESPACE, NAME = "kube-system", "extension-apiserver-authentication"


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
