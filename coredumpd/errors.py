"""Every error this project raises on purpose: one class, one exit code, one HTTP status and reason.

Exit codes follow sysexits.h, except 2 for usage, which every shell user expects. HTTP statuses and
reasons are those of `metav1.Status` (k8s.io/apimachinery/pkg/apis/meta/v1/types.go).

Standard library free on purpose: the crash path imports it.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Self


class Cause:
    """One problem of one field: `metav1.StatusCause`. `rule` says what would have been accepted."""

    __slots__ = ("field", "rule", "value")

    def __init__(self, field: str, value: object, rule: str) -> None:
        self.field = field
        self.value = value
        self.rule = rule

    def __str__(self) -> str:
        return f"{self.field}: {self.value!r}: {self.rule}"


class CoredumpdError(Exception):
    """Base of the tree. `str()` is one sentence for a person, never a traceback."""

    exit_code = 70  # EX_SOFTWARE
    http_status = 500
    reason = "InternalError"

    def __init__(self, message: str, causes: tuple[Cause, ...] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.causes = causes

    @classmethod
    def about(cls, field: str, message: str) -> Self:
        """One problem of one field, which `message` tells wholly."""
        return cls(message, (Cause(field, None, message),))


class UsageError(CoredumpdError):
    """The command line is wrong."""

    exit_code = 2
    http_status = 400
    reason = "BadRequest"


class BadRequest(UsageError):
    """The request's shape is wrong (HTTP 400)."""


class Invalid(CoredumpdError):
    """Well-formed, but a field breaks a rule; `causes` names each (HTTP 422)."""

    exit_code = 65  # EX_DATAERR
    http_status = 422
    reason = "Invalid"


class BadRecord(CoredumpdError):
    """Bytes that should be a meta.json, a policy snapshot or a runtime's state file are not."""

    exit_code = 65  # EX_DATAERR


class SettingsError(CoredumpdError):
    """A configuration is wrong; `causes` names every wrong field at once."""

    exit_code = 78  # EX_CONFIG

    def __str__(self) -> str:
        return "\n  ".join([self.message, *map(str, self.causes)])


class NotAcceptable(UsageError):
    """No representation that the Accept header allows (HTTP 406)."""

    http_status = 406
    reason = "NotAcceptable"


class UnsupportedMediaType(UsageError):
    """A body or a patch of a kind we do not take (HTTP 415)."""

    http_status = 415
    reason = "UnsupportedMediaType"


class TooLarge(UsageError):
    """A body above the limit (HTTP 413)."""

    http_status = 413
    reason = "RequestEntityTooLarge"


class HeadersTooLarge(UsageError):
    """The header fields together are above the limit (HTTP 431, RFC 6585)."""

    http_status = 431
    reason = "RequestHeaderFieldsTooLarge"


class RangeNotSatisfiable(UsageError):
    """A download beyond its end (HTTP 416)."""

    http_status = 416
    reason = "RequestedRangeNotSatisfiable"


class MethodNotAllowed(UsageError):
    """The path is there, the method is not (HTTP 405)."""

    http_status = 405
    reason = "MethodNotAllowed"


class Expired(CoredumpdError):
    """A resourceVersion or continue token older than the history we keep (HTTP 410)."""

    exit_code = 75  # EX_TEMPFAIL
    http_status = 410
    reason = "Expired"


class NotFound(CoredumpdError):
    """The thing named does not exist (HTTP 404)."""

    exit_code = 66  # EX_NOINPUT
    http_status = 404
    reason = "NotFound"


class AlreadyExists(CoredumpdError):
    """Create of what is there already (HTTP 409)."""

    exit_code = 73  # EX_CANTCREAT
    http_status = 409
    reason = "AlreadyExists"


class Conflict(CoredumpdError):
    """A precondition or resourceVersion does not hold any more (HTTP 409)."""

    exit_code = 75  # EX_TEMPFAIL
    http_status = 409
    reason = "Conflict"


class Unauthorized(CoredumpdError):
    """Who is asking could not be established (HTTP 401)."""

    exit_code = 77  # EX_NOPERM
    http_status = 401
    reason = "Unauthorized"


class Forbidden(CoredumpdError):
    """The caller is known and may not (HTTP 403); locally: a path or setting we refuse to trust."""

    exit_code = 77  # EX_NOPERM
    http_status = 403
    reason = "Forbidden"


class Unavailable(CoredumpdError):
    """Something we need does not answer now; trying again later makes sense (HTTP 503)."""

    exit_code = 69  # EX_UNAVAILABLE
    http_status = 503
    reason = "ServiceUnavailable"


class CannotSeal(Unavailable):
    """A core must leave its node encrypted and cannot be yet: it stays, and is tried again."""


class CannotOpen(Forbidden):
    """A core is encrypted, and no identity that was given opens it."""


class StorageError(CoredumpdError):
    """A disk, a mount or a bucket failed us, or holds bytes that do not verify."""

    exit_code = 74  # EX_IOERR
