"""The TLS context of the listener, rebuilt when the key pair or the trusted CAs change.

Client certificates are asked for, not required. OpenSSL refuses during the handshake one that
neither CA issued or that is not for clients; Python's ssl cannot be told to let it pass. Which CA
it was, whether it is valid now, and all else is decided per request in `certs`.
"""

from __future__ import annotations

import ssl

from coredumpd import errors

# openssl/x509_vfy.h. An expired certificate gets a 401 that says so, as from Go's servers, not an
# alert; `certs.is_client_of` must look at the time in any case, since connections outlive it.
_X509_V_FLAG_NO_CHECK_TIME = 0x200000


def context(cert_file: str, key_file: str, client_bundle: str) -> ssl.SSLContext:
    """TLS 1.2 and 1.3 with that key pair; `client_bundle` is PEM, "" asks no client for any.

    Raises SettingsError when the files do not make a pair.
    """
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    made.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    made.set_alpn_protocols(["http/1.1"])
    try:
        made.load_cert_chain(cert_file, key_file)
    except (OSError, ssl.SSLError) as error:
        cause = errors.Cause("tlsCertFile", cert_file, f"must pair with {key_file}: {error}")
        raise errors.SettingsError("the TLS key pair cannot be used:", (cause,)) from error
    if client_bundle.strip():
        made.load_verify_locations(cadata=client_bundle)
        made.verify_mode = ssl.CERT_OPTIONAL
        # A bundle may list an intermediate as the anchor, as Go accepts.
        made.verify_flags |= ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN
        made.verify_flags |= ssl.VerifyFlags(_X509_V_FLAG_NO_CHECK_TIME)
    return made


class Reloader:
    """The current context; `refresh` gives a new one when what it was made of has changed."""

    def __init__(self, cert_file: str, key_file: str) -> None:
        self._files = (cert_file, key_file)
        self._made_of: tuple[object, ...] = ()

    def refresh(self, client_bundle: str) -> ssl.SSLContext | None:
        """A new context, or None when nothing changed. Blocks on two small files.

        Raises SettingsError while the files do not pair, which a rotation passes through: keep the
        old context and try again.
        """
        made_of = (*(_contents(path) for path in self._files), client_bundle)
        if made_of == self._made_of:
            return None
        made = context(*self._files, client_bundle)
        self._made_of = made_of
        return made


def _contents(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        cause = errors.Cause("tlsCertFile", path, f"must be readable: {error.strerror}")
        raise errors.SettingsError("the TLS key pair cannot be used:", (cause,)) from error
