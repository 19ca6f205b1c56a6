"""The cluster's certificates: a cluster CA, a separate front-proxy CA, everybody's own.

Also for tests: a certificate of any user, of a wrong CA, expired, …
"""

from __future__ import annotations

import base64
import datetime
import ipaddress
from pathlib import Path
from typing import NamedTuple

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_DAY = datetime.timedelta(days=1)


class Pair(NamedTuple):
    """PEM files of a certificate and its key."""

    cert: Path
    key: Path


class Authority:
    """A certificate authority whose files live in `directory` as NAME.crt and NAME.key."""

    def __init__(self, directory: Path, name: str) -> None:
        self.directory = directory
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        builder = _builder(self._name, self._key.public_key(), 30).issuer_name(self._name)
        builder = builder.add_extension(x509.BasicConstraints(True, None), critical=True)
        self._cert = builder.sign(self._key, hashes.SHA256())
        self.pair = _write(directory / name, self._cert, self._key)

    def issue(
        self,
        file: str,
        common_name: str,
        groups: tuple[str, ...] = (),
        names: tuple[str, ...] = (),
        days: int = 30,
    ) -> Pair:
        """A certificate for clients, and for a server when `names` (DNS or IP) are given."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
        subject.append(x509.NameAttribute(NameOID.COMMON_NAME, common_name))
        usage = [ExtendedKeyUsageOID.CLIENT_AUTH]
        builder = _builder(x509.Name(subject), key.public_key(), days).issuer_name(self._name)
        builder = builder.add_extension(x509.BasicConstraints(False, None), critical=True)
        if names:
            usage.append(ExtendedKeyUsageOID.SERVER_AUTH)
            builder = builder.add_extension(
                x509.SubjectAlternativeName([_general(name) for name in names]), critical=False
            )
        builder = builder.add_extension(x509.ExtendedKeyUsage(usage), critical=False)
        return _write(self.directory / file, builder.sign(self._key, hashes.SHA256()), key)


def signing_key(directory: Path, name: str) -> Pair:
    """A bare RSA key pair (service-account tokens): `.pub` and `.key`."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    public = directory / f"{name}.pub"
    public.write_bytes(
        key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    )
    return Pair(public, _write_key(directory / f"{name}.key", key))


def kubeconfig(path: Path, server: str, authority: Path, client: Pair) -> Path:
    """A kubeconfig with everything inline."""
    user = {
        "client-certificate-data": _base64(client.cert),
        "client-key-data": _base64(client.key),
    }
    cluster = {"server": server, "certificate-authority-data": _base64(authority)}
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "e2e", "cluster": cluster}],
        "users": [{"name": "me", "user": user}],
        "contexts": [{"name": "e2e", "context": {"cluster": "e2e", "user": "me"}}],
        "current-context": "e2e",
    }
    path.touch(mode=0o600)
    path.write_text(yaml.safe_dump(document))
    return path


def _base64(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _builder(
    subject: x509.Name, key: ec.EllipticCurvePublicKey, days: int
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _DAY * (1 + max(0, -days)))
        .not_valid_after(now + _DAY * days)
    )


def _write(stem: Path, cert: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> Pair:
    path = stem.with_name(stem.name + ".crt")
    path.write_bytes(cert.public_bytes(serialization.Encoding.PEM))
    return Pair(path, _write_key(stem.with_name(stem.name + ".key"), key))


def _write_key(path: Path, key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> Path:
    path.touch(mode=0o600)
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.TraditionalOpenSSL,
            serialization.NoEncryption(),
        )
    )
    return path
