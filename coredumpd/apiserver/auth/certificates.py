"""Certificates: who a peer is by which CA, and the self-signed pair of a standalone server.

The TLS layer has already verified a client's chain against both CAs together. Which of the two it
was decides what the client may claim. So that is established here, for each request, against the
current CAs: one that was rotated away is no longer trusted, on open connections either.
"""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Sequence
from typing import TypeVar

from cryptography import exceptions, x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509 import oid

UNKNOWN = "the client certificate was issued by no authority that is trusted here"
_SELF_SIGNED_DAYS = 365
_INTERMEDIATES_MAX = 4  # each path is tried
_E = TypeVar("_E", bound=x509.ExtensionType)


def load_bundle(pem: str) -> tuple[x509.Certificate, ...]:
    """Certificates of a PEM bundle; "" holds none. Raises ValueError for anything else."""
    if not pem.strip():
        return ()
    return tuple(x509.load_pem_x509_certificates(pem.encode()))


def load_der(der: bytes) -> x509.Certificate:
    """A certificate of a peer. Raises ValueError if it cannot be read."""
    return x509.load_der_x509_certificate(der)


def problem(
    leaf: x509.Certificate,
    intermediates: Sequence[x509.Certificate],
    authorities: Sequence[x509.Certificate],
    now: datetime.datetime,
) -> str | None:
    """The reason for which `leaf` is no client's certificate of `authorities`; None if it is one.

    Authorities issue it themselves, or by `intermediates`, which the peer sent. UNKNOWN if they
    have nothing to do with it, valid or not.
    """
    if not _is_issued(leaf, tuple(intermediates)[:_INTERMEDIATES_MAX], authorities, now):
        named = (authority for authority in authorities if authority.subject == leaf.issuer)
        causes = (authority_problem(authority, now) for authority in named)
        cause = next(filter(None, causes), None)
        return f"the authority that issued the client certificate {cause}" if cause else UNKNOWN
    if now < leaf.not_valid_before_utc:
        return "the client certificate is not valid yet"
    if now > leaf.not_valid_after_utc:
        return "the client certificate has expired"
    if not _is_for_clients(leaf):
        return "the client certificate is not for clients"
    return None


def common_name(leaf: x509.Certificate) -> str:
    """The subject's last CN, as Go's pkix.Name takes it; "" without one."""
    names = leaf.subject.get_attributes_for_oid(oid.NameOID.COMMON_NAME)
    return str(names[-1].value) if names else ""


def organizations(leaf: x509.Certificate) -> tuple[str, ...]:
    """The subject's O values: a client's groups."""
    names = leaf.subject.get_attributes_for_oid(oid.NameOID.ORGANIZATION_NAME)
    return tuple(str(name.value) for name in names)


def _is_issued(
    certificate: x509.Certificate,
    intermediates: tuple[x509.Certificate, ...],
    authorities: Sequence[x509.Certificate],
    now: datetime.datetime,
    depth: int = 0,
) -> bool:
    """Is there a path from an authority, over `depth` intermediates so far?"""
    if any(_signs(authority, certificate, now, depth, is_anchor=True) for authority in authorities):
        return True
    return any(
        _signs(between, certificate, now, depth, is_anchor=False)
        and _is_issued(
            between, (*intermediates[:n], *intermediates[n + 1 :]), authorities, now, depth + 1
        )
        for n, between in enumerate(intermediates)
    )


def _signs(
    issuer: x509.Certificate,
    certificate: x509.Certificate,
    now: datetime.datetime,
    depth: int,
    *,
    is_anchor: bool,
) -> bool:
    """Did `issuer` issue `certificate`, and may it, with `depth` intermediates below it?"""
    if authority_problem(issuer, now, depth, is_anchor=is_anchor) is not None:
        return False
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, exceptions.InvalidSignature, exceptions.UnsupportedAlgorithm):
        return False
    return True


def authority_problem(
    issuer: x509.Certificate, now: datetime.datetime, depth: int = 0, *, is_anchor: bool = True
) -> str | None:
    """The reason for which `issuer` may not issue a client's certificate. As Go's crypto/x509.

    A CA of X.509 version 1 has no extensions, and may be an anchor; one of version 3 says that it
    is a CA. Key usage and extended key usage, where they are there, must allow this.
    """
    if not issuer.not_valid_before_utc <= now <= issuer.not_valid_after_utc:
        return "is not valid now"
    try:
        constraints = _extension(issuer, x509.BasicConstraints)
        usage = _extension(issuer, x509.KeyUsage)
    except ValueError:
        return "cannot be read"
    if constraints is None:
        is_old = is_anchor and issuer.version is x509.Version.v1
        return None if is_old else "does not say that it is a CA: it has no basicConstraints"
    if not constraints.ca:
        return "says that it is no CA"
    if _is_longer(depth, constraints.path_length):
        return "has too many others below it"
    if usage is not None and not usage.key_cert_sign:
        return "may not sign certificates by its key usage"
    return None if _is_for_clients(issuer) else "may not issue certificates of clients"


def _is_longer(depth: int, length_max: int | None) -> bool:
    return length_max is not None and depth > length_max


def _extension(certificate: x509.Certificate, kind: type[_E]) -> _E | None:
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


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
