"""A certificate authority for tests that speak real TLS, a kubeconfig and a key for tokens.

A certificate can be of any user, of a wrong authority, expired, or for a single use.
"""

from __future__ import annotations

import base64
import datetime
import ipaddress
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

LOOPBACK = ("localhost", "127.0.0.1")
CLIENT = (ExtendedKeyUsageOID.CLIENT_AUTH,)
CLIENT_AND_SERVER = (ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH)
_DAY = datetime.timedelta(days=1)


class Pair(NamedTuple):
    """PEM files of a certificate and its key."""

    cert: Path
    key: Path


class Authority:
    """A certificate authority whose files live in `directory` as NAME.crt and NAME.key."""

    def __init__(
        self,
        directory: Path,
        name: str = "test-ca",
        *,
        days: int = 1,
        issuer: Authority | None = None,
        path_length: int | None = None,
    ) -> None:
        """`days`: how long the authority's certificate is valid, and those it issues.

        With an `issuer` it is an intermediate one. `path_length` bounds those below it.
        """
        self.directory = directory
        self._validity = _DAY * days
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        signer = issuer or self
        builder = signer._builder(self._name, self._key).add_extension(
            x509.BasicConstraints(ca=True, path_length=path_length), critical=True
        )
        certificate = builder.sign(signer._key, hashes.SHA256())
        self.pair = _write(directory / name, certificate, self._key)

    @property
    def file(self) -> Path:
        """The authority's own certificate."""
        return self.pair.cert

    @property
    def pem(self) -> str:
        """The text of that certificate."""
        return self.file.read_text()

    def issue(
        self,
        common_name: str,
        *organisations: str,
        file_name: str | None = None,
        not_after: datetime.datetime | None = None,
        usages: Sequence[x509.ObjectIdentifier] = (),
        names: Sequence[str] = LOOPBACK,
    ) -> Pair:
        """A certificate of a user in the groups `organisations`, and of a server at `names`.

        `names` are DNS names and IP addresses; `usages` limits it to those extended key usages;
        `not_after` may lie in the past. `file_name` defaults to the common name.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        subject = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, name) for name in organisations]
        subject.append(x509.NameAttribute(NameOID.COMMON_NAME, common_name))
        builder = self._builder(x509.Name(subject), key, not_after).add_extension(
            x509.BasicConstraints(ca=False, path_length=None), critical=True
        )
        if names:
            builder = builder.add_extension(
                x509.SubjectAlternativeName([_general(name) for name in names]), critical=False
            )
        if usages:
            builder = builder.add_extension(x509.ExtendedKeyUsage(list(usages)), critical=False)
        certificate = builder.sign(self._key, hashes.SHA256())
        return _write(self.directory / (file_name or common_name), certificate, key)

    def _builder(
        self,
        subject: x509.Name,
        key: ec.EllipticCurvePrivateKey,
        not_after: datetime.datetime | None = None,
    ) -> x509.CertificateBuilder:
        now = datetime.datetime.now(datetime.UTC)
        end = not_after or now + self._validity
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(min(now, end) - datetime.timedelta(hours=1))
            .not_valid_after(end)
        )


def certificate_without_extensions(directory: Path, name: str) -> Pair:
    """A certificate of version 3 that signed itself, and says nothing about itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder(subject, subject, key.public_key(), 7, now, now + _DAY)
    return _write(directory / name, builder.sign(key, hashes.SHA256()), key)


def private_key(path: Path) -> ec.EllipticCurvePrivateKey:
    """The key in a file that this module wrote."""
    key = serialization.load_pem_private_key(path.read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return key


def subject(path: Path) -> x509.Name:
    """The subject of the certificate in a file."""
    return x509.load_pem_x509_certificate(path.read_bytes()).subject


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
