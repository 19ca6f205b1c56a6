"""Certificates: who a peer is by which CA, and the self-signed pair of a standalone server.

The TLS layer has already verified a client's chain against both CAs together. Which of the two it
was decides what the client may claim. So that is established here, for each request, against the
current CAs: one that was rotated away is no longer trusted, on open connections either.

Tested in: tests/integration/server/test_callers.py
"""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Sequence

from cryptography import exceptions, x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509 import oid

_SELF_SIGNED_DAYS = 365


def load_bundle(pem: str) -> tuple[x509.Certificate, ...]:
    """Certificates of a PEM bundle; "" holds none. Raises ValueError for anything else."""
    if not pem.strip():
        return ()
    return tuple(x509.load_pem_x509_certificates(pem.encode()))


def load_der(der: bytes) -> x509.Certificate | None:
    """A peer's certificate; None if `cryptography` refuses to read it."""
    try:
        return x509.load_der_x509_certificate(der)
    except ValueError:
        return None


def is_client_of(
    leaf: x509.Certificate, authorities: Sequence[x509.Certificate], now: datetime.datetime
) -> bool:
    """Did one of `authorities` issue this certificate, is it valid now, and for clients?

    Directly issued only: Kubernetes' CAs issue client certificates themselves, and an intermediate
    can be listed in the bundle.
    """
    if not leaf.not_valid_before_utc <= now <= leaf.not_valid_after_utc:
        return False
    if not _is_for_clients(leaf):
        return False
    return any(_issued(leaf, authority, now) for authority in authorities)


def common_name(leaf: x509.Certificate) -> str:
    """The subject's last CN, as Go's pkix.Name takes it; "" without one."""
    names = leaf.subject.get_attributes_for_oid(oid.NameOID.COMMON_NAME)
    return str(names[-1].value) if names else ""


def organizations(leaf: x509.Certificate) -> tuple[str, ...]:
    """The subject's O values: a client's groups."""
    names = leaf.subject.get_attributes_for_oid(oid.NameOID.ORGANIZATION_NAME)
    return tuple(str(name.value) for name in names)


def _issued(leaf: x509.Certificate, authority: x509.Certificate, now: datetime.datetime) -> bool:
    if not authority.not_valid_before_utc <= now <= authority.not_valid_after_utc:
        return False
    try:
        constraints = authority.extensions.get_extension_for_class(x509.BasicConstraints).value
        if not constraints.ca:
            return False
        leaf.verify_directly_issued_by(authority)
    except (ValueError, TypeError, exceptions.InvalidSignature, x509.ExtensionNotFound):
        return False
    return True


def _is_for_clients(leaf: x509.Certificate) -> bool:
    try:
        usage = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return True  # RFC 5280 section 4.2.1.12: no restriction
    except ValueError:
        return False
    purposes = (oid.ExtendedKeyUsageOID.CLIENT_AUTH, oid.ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE)
    return any(purpose in usage for purpose in purposes)


def self_signed(now: datetime.datetime) -> tuple[bytes, bytes]:
    """(certificate, private key) in PEM for localhost, 127.0.0.1 and ::1; its own trust anchor."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(oid.NameOID.COMMON_NAME, "coredumpd standalone")])
    loopback = [
        x509.DNSName("localhost"),
        x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
        x509.IPAddress(ipaddress.ip_address("::1")),
    ]
    server = x509.ExtendedKeyUsage([oid.ExtendedKeyUsageOID.SERVER_AUTH])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + datetime.timedelta(days=_SELF_SIGNED_DAYS))
        .add_extension(x509.SubjectAlternativeName(loopback), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(server, critical=False)
        .sign(key, hashes.SHA256())
    )
    return (
        certificate.public_bytes(serialization.Encoding.PEM),
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ),
    )
