"""The TLS context of the listener, rebuilt when the key pair or the trusted CAs change.

Client certificates are requested, not required. During the handshake OpenSSL refuses one that
neither CA issued or that is not for clients; Python's ssl has no way to let it pass. Which CA it
was, whether it is valid now, and all else is decided per request in `auth.certificates`.

Tested in: tests/integration/server/test_callers.py
"""

from __future__ import annotations

import _ssl
import ssl
from typing import Any

from coredumpd import errors

# openssl/x509_vfy.h. An expired certificate gets a 401 that says so, as from Go's servers, not an
# alert. `certificates.problem` looks at the time in any case: connections outlive it.
_X509_V_FLAG_NO_CHECK_TIME = 0x200000


def context(cert_file: str, key_file: str, client_bundle: str) -> ssl.SSLContext:
    """TLS 1.2 and 1.3 with that key pair; `client_bundle` is PEM; "" requests no
    client certificates.

    Raises SettingsError if the files are no pair.
    """
    tls_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls_context.minimum_version = ssl.TLSVersion.TLSv1_2
    tls_context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    tls_context.set_alpn_protocols(["http/1.1"])
    try:
        tls_context.load_cert_chain(cert_file, key_file)
    except (OSError, ssl.SSLError) as error:
        cause = errors.Cause("tlsCertFile", cert_file, f"must pair with {key_file}: {error}")
        raise errors.SettingsError("the TLS key pair cannot be used:", (cause,)) from error
    if client_bundle.strip():
        tls_context.load_verify_locations(cadata=client_bundle)
        tls_context.verify_mode = ssl.CERT_OPTIONAL
        # A bundle may list an intermediate as the anchor, as Go accepts.
        tls_context.verify_flags |= ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN
        tls_context.verify_flags |= ssl.VerifyFlags(_X509_V_FLAG_NO_CHECK_TIME)
    return tls_context


def peer_chain(connection: Any) -> tuple[bytes, ...]:
    """The certificates (DER) that the peer of a Tornado connection sent, its own first.

    The handshake has verified that one of them leads to a trusted CA, not that all do. Python 3.13
    has a public method for this.
    """
    stream = getattr(connection, "stream", None)
    tls_object = getattr(getattr(stream, "socket", None), "_sslobj", None)
    if tls_object is None:
        return ()
    chain = tls_object.get_unverified_chain() or ()
    if None in chain:  # Python 3.11 puts the peer's own first, even if there is none
        return ()
    return tuple(certificate.public_bytes(_ssl.ENCODING_DER) for certificate in chain)


class Reloader:
    """Makes TLS contexts: `refresh` gives a new one whenever the files or the CAs have changed."""

    def __init__(self, cert_file: str, key_file: str) -> None:
        self._files = (cert_file, key_file)
        self._inputs: tuple[object, ...] = ()

    def refresh(self, client_bundle: str) -> ssl.SSLContext | None:
        """A new context, or None when nothing changed. Blocks on two small files.

        Raises SettingsError while the files do not pair, which a rotation passes through: keep the
        old context and try again.
        """
        inputs = (*(_contents(path) for path in self._files), client_bundle)
        if inputs == self._inputs:
            return None
        tls_context = context(*self._files, client_bundle)
        self._inputs = inputs
        return tls_context


def _contents(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        cause = errors.Cause("tlsCertFile", path, f"must be readable: {error.strerror}")
        raise errors.SettingsError("the TLS key pair cannot be used:", (cause,)) from error
