"""Every error as a `metav1.Status` (k8s.io/apimachinery/pkg/apis/meta/v1/types.go).

kubectl prints `message`; controllers act on `reason`; tools show `details.causes` beside fields.
"""

from __future__ import annotations

import http
import json
from typing import Any

from coredumpd import errors

_CAUSES_MAX = 50
_VALUE_CHARS_MAX = 200


def of(error: errors.CoredumpdError, details: dict[str, Any] | None = None) -> dict[str, Any]:
    """The Status of one of our errors; `details` adds name, group, kind where they are known."""
    causes = [
        {"reason": _cause_reason(cause), "message": _cause_message(cause), "field": cause.field}
        for cause in error.causes[:_CAUSES_MAX]
    ]
    told = dict(details or {})
    if causes:
        told["causes"] = causes
    if error.http_status == http.HTTPStatus.SERVICE_UNAVAILABLE:
        told["retryAfterSeconds"] = 1
    message = error.message
    if causes and error.http_status == http.HTTPStatus.UNPROCESSABLE_ENTITY:
        listed = "; ".join(f"{cause['field']}: {cause['message']}" for cause in causes)
        message = f"{message}: {listed}"
    return make(error.http_status, error.reason, message, told)


def of_http(code: int, message: str = "") -> dict[str, Any]:
    """The Status of an HTTP status that no error of ours stands behind."""
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
    """A failure Status."""
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
    """What a deletion that took effect at once answers."""
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Success",
        "details": details,
    }


def _cause_reason(cause: errors.Cause) -> str:
    if cause.rule.startswith("is required"):
        return "FieldValueRequired"
    return "FieldValueInvalid"


def _cause_message(cause: errors.Cause) -> str:
    if cause.value is None:
        return cause.rule
    shown = json.dumps(cause.value, default=str)  # quoted as kube-apiserver quotes
    if len(shown) > _VALUE_CHARS_MAX:
        shown = shown[:_VALUE_CHARS_MAX] + "…"
    return f"Invalid value: {shown}: {cause.rule}"
