"""Every error this project raises on purpose. One class has one exit code, HTTP status and reason.

Exit codes follow sysexits.h, except 2 for usage, which every shell user expects. HTTP statuses and
reasons are those of `metav1.Status` (k8s.io/apimachinery/pkg/apis/meta/v1/types.go).

Imports nothing, on purpose: the crash path imports it.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Self


class Cause:
    """One problem of one field: `metav1.StatusCause`. `rule` says which values are accepted."""

    __slots__ = ("field", "line", "rule", "value")

    def __init__(self, field: str, value: object, rule: str) -> None:
        self.field = field
        self.value = value
        self.rule = rule
        self.line: int | None = None  # of the file that has the field, if it is from one

    def __str__(self) -> str:
        place = "" if self.line is None else f"line {self.line}: "
        return f"{place}{self.field}: {self.value!r}: {self.rule}"


class CoredumpdError(Exception):
    """The base class. `str()` is one sentence for a person, never a traceback."""

    exit_code = 70  # EX_SOFTWARE
    http_status = 500
    reason = "InternalError"
    retry_after_s: int | None = None  # when trying again makes sense; the answer says so
    tells_nothing = False  # about the inside of a server, although it is a 5xx

    def __init__(self, message: str, causes: tuple[Cause, ...] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.causes = causes

    @property
    def is_public(self) -> bool:
        """May a client of the server read it? Messages of 5xx name paths and addresses of ours."""
        return self.tells_nothing or self.http_status < 500

    @classmethod
    def about(cls, field: str, message: str) -> Self:
        """An error with one cause: `message` describes the whole problem of `field`."""
        return cls(message, (Cause(field, None, message),))


class UsageError(CoredumpdError):
    """The command line is wrong."""

    exit_code = 2
    http_status = 400
    reason = "BadRequest"


class BadRequest(UsageError):
    """The request is malformed (HTTP 400)."""


class Invalid(CoredumpdError):
    """The request is well-formed, but fields break rules; `causes` names each field (HTTP 422)."""

    exit_code = 65  # EX_DATAERR
    http_status = 422
    reason = "Invalid"


class InvalidOptions(Invalid):
    """Options of a list or a watch break rules: `details` names meta.k8s.io ListOptions."""

    def __init__(self, causes: tuple[Cause, ...]) -> None:
        super().__init__('ListOptions.meta.k8s.io "" is invalid', causes)


class BadRecord(CoredumpdError):
    """A file is not in its format: a meta.json, a core.gz, a runtime's state, saved settings."""

    exit_code = 65  # EX_DATAERR


class SettingsError(CoredumpdError):
    """The configuration is wrong; `causes` names every wrong field at once."""

    exit_code = 78  # EX_CONFIG

    def __str__(self) -> str:
        return "\n  ".join([self.message, *map(str, self.causes)])


class NotAcceptable(UsageError):
    """The Accept header allows no representation that we can send (HTTP 406)."""

    http_status = 406
    reason = "NotAcceptable"


class UnsupportedMediaType(UsageError):
    """The media type of the body or of the patch is not supported (HTTP 415)."""

    http_status = 415
    reason = "UnsupportedMediaType"


class TooLarge(UsageError):
    """The body is larger than the limit (HTTP 413)."""

    http_status = 413
    reason = "RequestEntityTooLarge"


class HeadersTooLarge(UsageError):
    """The header fields together are larger than the limit (HTTP 431, RFC 6585)."""

    http_status = 431
    reason = "RequestHeaderFieldsTooLarge"


class RangeNotSatisfiable(UsageError):
    """The requested range starts after the end of the download (HTTP 416)."""

    http_status = 416
    reason = "RequestedRangeNotSatisfiable"


class MethodNotAllowed(UsageError):
    """The path exists, but does not support this method (HTTP 405)."""

    http_status = 405
    reason = "MethodNotAllowed"


class Expired(CoredumpdError):
    """The resourceVersion or continue token is older than the history we keep (HTTP 410)."""

    exit_code = 75  # EX_TEMPFAIL
    http_status = 410
    reason = "Expired"


class TooLargeResourceVersion(CoredumpdError):
    """The resourceVersion is above that of the last write (HTTP 504).

    Worded as `NewTooLargeResourceVersionError` of k8s.io/apiserver/pkg/storage/errors.go: client-go
    looks for the reason and the cause, and then lists anew.
    """

    exit_code = 75  # EX_TEMPFAIL
    http_status = 504
    tells_nothing = True
    reason = "Timeout"
    retry_after_s = 1

    def __init__(self, revision: int, now: int) -> None:
        super().__init__(f"Timeout: Too large resource version: {revision}, current: {now}")


class NotFound(CoredumpdError):
    """The named object, dump or path does not exist (HTTP 404)."""

    exit_code = 66  # EX_NOINPUT
    http_status = 404
    reason = "NotFound"


class AlreadyExists(CoredumpdError):
    """The object to create exists already (HTTP 409)."""

    exit_code = 73  # EX_CANTCREAT
    http_status = 409
    reason = "AlreadyExists"


class Conflict(CoredumpdError):
    """A precondition or a resourceVersion is out of date (HTTP 409)."""

    exit_code = 75  # EX_TEMPFAIL
    http_status = 409
    reason = "Conflict"


class Unauthorized(CoredumpdError):
    """The caller could not be identified (HTTP 401)."""

    exit_code = 77  # EX_NOPERM
    http_status = 401
    reason = "Unauthorized"


class Forbidden(CoredumpdError):
    """The caller lacks the permission (HTTP 403). On a node: a path or a setting is not trusted."""

    exit_code = 77  # EX_NOPERM
    http_status = 403
    reason = "Forbidden"


class Untrusted(Forbidden):
    """A file or directory that was there before may be another user's, or others may use it."""


class Unavailable(CoredumpdError):
    """A service we depend on does not answer now; retrying later makes sense (HTTP 503)."""

    exit_code = 69  # EX_UNAVAILABLE
    http_status = 503
    reason = "ServiceUnavailable"
    retry_after_s = 1


class NotReady(Unavailable):
    """This server cannot do it now, for a reason that every client may read (HTTP 503)."""

    tells_nothing = True


class TooManyRequests(CoredumpdError):
    """The caller has its share of something already, or there is no more (HTTP 429)."""

    exit_code = 75  # EX_TEMPFAIL
    http_status = 429
    reason = "TooManyRequests"
    retry_after_s = 1


class CannotSeal(Unavailable):
    """The core must be encrypted before it leaves the node, and that is not possible yet.

    It stays in the spool and is retried.
    """


class CannotAttribute(Unavailable):
    """Nothing proves whose crash it is, and somebody's rules may forbid that it leaves the node.

    It stays in the spool, within bounds, and is retried.
    """


class CannotOpen(Forbidden):
    """The core is encrypted, and none of the given identities opens it."""


class StorageError(CoredumpdError):
    """A disk, a mount or a bucket failed, or holds bytes that fail verification."""

    exit_code = 74  # EX_IOERR


class NoSpace(StorageError):
    """The file system has less space than is needed."""
