"""age files (https://age-encryption.org/v1): cores sealed to a tenant's keys, opened by the tenant.

The only module that uses `pyrage`. It streams: its memory does not grow with the core. A message
never repeats a line that is no key, since the line may be a secret from another file.
"""

from __future__ import annotations

import base64
import binascii
import dataclasses
import hashlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import pyrage

from coredumpd import errors

RECIPIENTS_MAX = 20  # each is a stanza of up to 1 KiB in every core
TEXT_CHARS_MAX = 64 * 1024
_READ_BYTES = 1024 * 1024  # pyrage asks for 8 KiB at a time
_RULE = "must be a public key of age (age1...) or of ssh (ssh-ed25519, ssh-rsa)"
_AGE_SECRET = "AGE-SECRET-KEY-"  # noqa: S105 (how each begins)


class Reader(Protocol):
    """A file to read from; b"" is its end."""

    def read(self, size: int, /) -> bytes: ...


class Writer(Protocol):
    """A file to write to."""

    def write(self, data: bytes, /) -> object: ...


@dataclasses.dataclass(frozen=True)
class Recipients:
    """The keys to seal to; `names`: age recipients as they are, ssh keys by fingerprint."""

    names: tuple[str, ...]
    keys: tuple[Any, ...] = dataclasses.field(repr=False)


def recipients(text: str) -> Recipients:
    """The recipients in `text`, one a line; skips blank lines and comments. Raises Invalid."""
    if len(text) > TEXT_CHARS_MAX:
        raise errors.Invalid(f"{len(text)} characters of recipients; at most {TEXT_CHARS_MAX}")
    found: dict[str, Any] = {}
    for number, line in _lines(text):
        name, key = _recipient(number, line)
        found[name] = key
    if not 0 < len(found) <= RECIPIENTS_MAX:
        raise errors.Invalid(f"{len(found)} recipients; there must be 1 to {RECIPIENTS_MAX}")
    return Recipients(tuple(found), tuple(found.values()))


def identities(data: bytes) -> list[Any]:
    """The secret keys of an identity file: of age, or one private key of ssh. Raises Invalid."""
    if data.startswith(b"-----BEGIN ") and b"PRIVATE KEY" in data[:64]:
        try:
            return [pyrage.ssh.Identity.from_buffer(data)]
        except pyrage.IdentityError as error:
            rule = "use an ed25519 or RSA key that no passphrase protects"
            raise errors.Invalid(f"cannot use this ssh key ({error}); {rule}") from error
    if data.startswith((b"age-encryption.org/", b"-----BEGIN AGE ENCRYPTED FILE")):
        raise errors.Invalid("is protected by a passphrase: decrypt it first, with age -d")
    found = []
    for number, line in _lines(data.decode("utf-8", "replace")):
        try:
            found.append(pyrage.x25519.Identity.from_str(line))
        except pyrage.IdentityError as error:
            rule = f"must be a secret key of age ({_AGE_SECRET}1...)"
            raise errors.Invalid(f"line {number} {rule}") from error
    if not found:
        raise errors.Invalid("holds no identity")
    return found


def seal(core: Reader, sealed: Writer, to: Recipients) -> None:
    """Encrypt all of `core` into `sealed`. Raises CannotSeal, and any error of the two files."""
    guard = _Guard(core, sealed)
    try:
        pyrage.encrypt_io(guard, guard, list(to.keys))
    except (pyrage.EncryptError, OSError) as error:
        guard.raise_first(error)
        raise errors.CannotSeal(f"age does not encrypt: {error}") from error


def open(sealed: Reader, core: Writer, keys: Sequence[Any]) -> None:
    """Decrypt `sealed` into `core`: each 64 KiB is authenticated before it is written.

    Raises any error of the two files; CannotOpen when no key fits, before anything is written;
    StorageError when `sealed` is no age file, or is damaged or cut, which may be known only at
    its end.
    """
    guard = _Guard(sealed, core)
    try:
        pyrage.decrypt_io(guard, guard, list(keys))
    except pyrage.DecryptError as error:
        guard.raise_first(error)
        if "No matching keys" in str(error):
            raise errors.CannotOpen("no identity given opens it") from error
        raise errors.StorageError(f"no age file: {error}") from error
    except OSError as error:
        guard.raise_first(error)
        raise errors.StorageError("the age file is damaged or cut") from error


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """(line number, text) of each line that is not blank or a comment."""
    for number, line in enumerate(text.splitlines(), 1):
        stripped = line.strip()
        if stripped and not stripped.startswith("#"):
            yield number, stripped


def _recipient(number: int, line: str) -> tuple[str, Any]:
    """(name, key) of one line. Raises Invalid."""
    if line.upper().startswith(_AGE_SECRET) or "PRIVATE KEY" in line:
        rule = "is a secret key, which everybody who may read this has seen: make a new one"
        raise errors.Invalid(f"line {number} {rule}")
    try:
        if line.startswith("ssh-"):
            kind, blob = line.split()[:2]
            digest = hashlib.sha256(base64.b64decode(blob, validate=True)).digest()
            name = f"{kind} SHA256:{base64.b64encode(digest).decode().rstrip('=')}"
            return name, pyrage.ssh.Recipient.from_str(f"{kind} {blob}")
        return line, pyrage.x25519.Recipient.from_str(line)
    except (pyrage.RecipientError, ValueError, binascii.Error) as error:
        raise errors.Invalid(f"line {number} {_RULE}") from error


class _Guard:
    """Both files for pyrage; keeps the exception of a file, since pyrage keeps only its text."""

    def __init__(self, source: Reader, sink: Writer) -> None:
        self._source = source
        self._sink = sink
        self._rest = memoryview(b"")
        self._first: Exception | None = None

    def read(self, size: int) -> bytes:
        """As io.RawIOBase.read."""
        if not self._rest:
            self._rest = memoryview(self._kept(self._source.read, _READ_BYTES))
        piece, self._rest = bytes(self._rest[:size]), self._rest[size:]
        return piece

    def write(self, data: bytes) -> int:
        """As io.RawIOBase.write, but all of it."""
        self._kept(self._sink.write, data)
        return len(data)

    def flush(self) -> None:
        """As io.IOBase.flush; the file's owner flushes it."""

    def raise_first(self, instead: BaseException) -> None:
        """Raise the exception of one of the files again, if there was one."""
        if self._first is not None:
            raise self._first from instead

    def _kept(self, call: Callable[[Any], Any], argument: object) -> Any:
        try:
            return call(argument)
        except Exception as error:
            self._first = error
            raise
