"""The meaning of an answer from etcd that is no success: was the request done, and why not.

Codes: https://grpc.github.io/grpc/core/md_doc_statuscodes.html
"""

from __future__ import annotations

import json

from coredumpd import errors

INVALID_ARGUMENT, PERMISSION_DENIED, RESOURCE_EXHAUSTED, UNAUTHENTICATED = 3, 7, 8, 16
FAILED_PRECONDITION, OUT_OF_RANGE, UNIMPLEMENTED = 9, 11, 12
_DEFINITE = {
    *(INVALID_ARGUMENT, PERMISSION_DENIED, RESOURCE_EXHAUSTED, UNAUTHENTICATED),
    *(FAILED_PRECONDITION, OUT_OF_RANGE, UNIMPLEMENTED),
}
_OLD_TOKEN_PHRASES = (
    "invalid auth token",
    "revision of auth store is old",
    "user name is empty",
)
_TEXT_BYTES_MAX = 300


class Lost(errors.Unavailable):
    """A request was sent and no answer came: it may have been done."""


class Refusal(Exception):
    """etcd answered that it did not carry out the request."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message

    @property
    def is_definite(self) -> bool:
        """Was the request surely not done? With any other code it may have been."""
        return self.code in _DEFINITE

    @property
    def is_of_old_token(self) -> bool:
        """Would a new token help? Such a request was refused before it was done."""
        return any(phrase in self.message for phrase in _OLD_TOKEN_PHRASES)


def refusal(status: int, data: bytes) -> Refusal:
    """The refusal in an HTTP answer: JSON by the gateway, or text by a server in front of it."""
    try:
        document = json.loads(data)
        message = str(document.get("message") or document.get("error"))
        return Refusal(int(document["code"]), message)
    except (ValueError, KeyError, TypeError, AttributeError):
        text = data[:_TEXT_BYTES_MAX].decode("utf-8", "backslashreplace").strip()
    if status == 404:
        hint = "its JSON gateway is off, start it with --enable-grpc-gateway=true"
        return Refusal(UNIMPLEMENTED, f"{text}: {hint}")
    if status == 400:  # such as a client certificate with a common name where users have passwords
        return Refusal(FAILED_PRECONDITION, text)
    return Refusal(0, f"HTTP {status}: {text}")


def as_error(endpoint: str, refusal: Refusal) -> errors.CoredumpdError:
    """The error that a caller of the engine gets for a definite refusal."""
    text = f"etcd at {endpoint}: {refusal.message}"
    match refusal.code:
        case 11 if "compacted" in refusal.message:
            return errors.Expired("that revision has been compacted; list again")
        case 11:
            return errors.TooLargeResourceVersion(0, 0)  # the caller knows the numbers
        case 3 if "too large" in refusal.message:
            return errors.TooLarge(text)
        case 8:
            return errors.Unavailable(text)
        case _:
            return errors.StorageError(text)
