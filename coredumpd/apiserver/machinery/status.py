"""Every error as a `metav1.Status` (k8s.io/apimachinery/pkg/apis/meta/v1/types.go).

kubectl prints `message`; controllers act on `reason`; tools show `details.causes` beside fields.
"""

from __future__ import annotations

import http
import json
from typing import Any

from coredumpd import errors

_CAUSES_MAX = 50
# The parameter, header, field or part of a request that a status is about, unless causes say it.
_FIELDS = {
    400: "request",
    401: "Authorization",
    403: "user",
    404: "metadata.name",
    405: "method",
    406: "Accept",
    408: "request",
    410: "resourceVersion",
    413: "body",
    415: "Content-Type",
    416: "Range",
    429: "user",
    431: "headers",
}
_CONFLICTS = {"AlreadyExists": "metadata.name", "Conflict": "metadata.resourceVersion"}
_INVALID = "FieldValueInvalid"
_CAUSE_REASONS = {
    "NotFound": "FieldValueNotFound",
    "AlreadyExists": "FieldValueDuplicate",
    "MethodNotAllowed": "FieldValueNotSupported",
    "NotAcceptable": "FieldValueNotSupported",
    "UnsupportedMediaType": "FieldValueNotSupported",
}
# k8s.io/apimachinery/pkg/apis/meta/v1/types.go: CauseTypeResourceVersionTooLarge
_TOO_LARGE = {"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}
_VALUE_CHARS_MAX = 200
_MESSAGE_CHARS_MAX = 4096
_RULE_CHARS_MAX = 1024
_NAME_CHARS_MAX = 253


def of(
    error: errors.CoredumpdError, details: dict[str, Any] | None = None, audit_id: str = ""
) -> dict[str, Any]:
    """The Status of one of our errors; `details` adds name, group and kind if there are any.

    Of an error that is not public, it only says where the log has it: under `audit_id`.
    """
    if not error.is_public:
        is_passing = error.http_status == http.HTTPStatus.SERVICE_UNAVAILABLE
        problem = "the server cannot answer now" if is_passing else "an internal error"
        error = _Hidden(error, f"{problem}; the log has it under Audit-Id {audit_id}")
    causes = [
        {
            "reason": _cause_reason(error.reason, cause),
            "message": _cause_message(cause),
            "field": _cut(cause.field) or '""',  # the name of a parameter may be empty
        }
        for cause in error.causes[:_CAUSES_MAX]
    ]
    if isinstance(error, errors.TooLargeResourceVersion):
        details, causes = {}, [dict(_TOO_LARGE)]
    details = {name: _cut(value, _NAME_CHARS_MAX) for name, value in (details or {}).items()}
    if causes:
        details["causes"] = causes
    if error.retry_after_s is not None:
        details["retryAfterSeconds"] = error.retry_after_s
    message = error.message
    if causes and error.http_status == http.HTTPStatus.UNPROCESSABLE_ENTITY:
        listed = [
            f"{cause['field']}: {cause['message']}"
            for cause in causes
            if cause["message"] != message  # or it would stand there twice
        ]
        # As an ErrorList of k8s.io/apimachinery/pkg/util/validation/field is printed.
        problems = f"[{', '.join(listed)}]" if len(listed) > 1 else "".join(listed)
        message = ": ".join(filter(None, (message, problems)))
    return make(error.http_status, error.reason, message, details)


def of_http(code: int, message: str = "") -> dict[str, Any]:
    """The Status of an HTTP status that none of our errors caused."""
    try:
        phrase = http.HTTPStatus(code).phrase
    except ValueError:
        phrase = "Unknown"
    reasons = {400: "BadRequest", 404: "NotFound", 405: "MethodNotAllowed", 500: "InternalError"}
    reason = reasons.get(code, phrase.replace(" ", ""))
    return make(code, reason, message or phrase)


def make(
    code: int, reason: str, message: str, details: dict[str, Any] | None = None
) -> dict[str, Any]:
    """A failure Status; that of a 4xx has a cause."""
    message = _cut(message, _MESSAGE_CHARS_MAX)
    field = _CONFLICTS.get(reason) or _FIELDS.get(code)
    if field is not None and not (details or {}).get("causes"):
        cause = {"reason": _CAUSE_REASONS.get(reason, _INVALID), "message": message, "field": field}
        details = {**(details or {}), "causes": [cause]}
    body: dict[str, Any] = {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": message,
        "reason": reason,
    }
    if details:
        body["details"] = details
    return {**body, "code": code}


def success(details: dict[str, Any]) -> dict[str, Any]:
    """The answer to a deletion that took effect at once."""
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Success",
        "details": details,
    }


def _cause_reason(reason: str, cause: errors.Cause) -> str:
    if cause.rule.startswith("is required"):
        return "FieldValueRequired"
    if cause.rule.startswith("Forbidden: "):
        return "FieldValueForbidden"
    if cause.rule.startswith("Unsupported value: "):
        return "FieldValueNotSupported"
    return _CAUSE_REASONS.get(reason, _INVALID)


def _cause_message(cause: errors.Cause) -> str:
    rule = _cut(cause.rule, _RULE_CHARS_MAX)
    if cause.value is None:
        return rule
    text = json.dumps(cause.value, default=str)  # quoted as kube-apiserver quotes
    return f"Invalid value: {_cut(text)}: {rule}"


def _cut(text: str, chars_max: int = _VALUE_CHARS_MAX) -> str:
    """Callers choose values and names of fields: an answer does not repeat them without bound."""
    return text if len(text) <= chars_max else text[:chars_max] + "…"


class _Hidden(errors.CoredumpdError):
    """Stands for an error that is not public, with another message and without its causes."""

    def __init__(self, error: errors.CoredumpdError, message: str) -> None:
        super().__init__(message)
        self.http_status = error.http_status
        self.reason = error.reason
        self.retry_after_s = error.retry_after_s
