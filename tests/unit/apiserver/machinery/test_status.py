from __future__ import annotations

import pytest

from coredumpd import errors
from coredumpd.apiserver.machinery import status


def test_each_cause_of_an_invalid_object_stands_in_the_message():
    error = errors.Invalid("x is invalid", (errors.Cause("spec.a", 1, "must be 2"),))
    document = status.of(error, {"name": "x"})
    assert (document["code"], document["reason"]) == (422, "Invalid")
    assert document["message"] == "x is invalid: spec.a: Invalid value: 1: must be 2"
    assert document["details"] == {
        "name": "x",
        "causes": [
            {
                "reason": "FieldValueInvalid",
                "message": "Invalid value: 1: must be 2",
                "field": "spec.a",
            }
        ],
    }


def test_the_details_that_were_passed_are_left_alone():
    details = {"name": "x"}
    status.of(errors.Unavailable("later"), details)
    assert details == {"name": "x"}


@pytest.mark.parametrize("kind", [errors.Unavailable, errors.TooManyRequests])
def test_who_may_try_again_is_told_when(kind):
    assert status.of(kind("later"))["details"]["retryAfterSeconds"] == 1


@pytest.mark.parametrize(
    ("error", "field"),
    [
        (errors.Unauthorized("x"), "Authorization"),
        (errors.Conflict("x"), "metadata.resourceVersion"),
        (errors.AlreadyExists("x"), "metadata.name"),
        (errors.Expired("x"), "resourceVersion"),
    ],
)
def test_a_4xx_without_causes_names_the_field_it_is_about(error, field):
    (cause,) = status.of(error)["details"]["causes"]
    assert cause["field"] == field


def test_a_long_value_is_cut():
    error = errors.Invalid("x", (errors.Cause("a", "y" * 1000, "must be short"),))
    (cause,) = status.of(error)["details"]["causes"]
    assert len(cause["message"]) < 300


def test_an_http_status_without_an_error_of_ours_has_its_phrase():
    assert status.of_http(404)["reason"] == "NotFound"
    assert status.of_http(599)["reason"] == "Unknown"


def test_a_revision_to_come_is_worded_as_natively():
    document = status.of(errors.TooLargeResourceVersion(9, 7), {"kind": "configmaps"})
    assert (document["code"], document["reason"]) == (504, "Timeout")
    assert document["message"] == "Timeout: Too large resource version: 9, current: 7"
    cause = {"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}
    assert document["details"] == {"causes": [cause], "retryAfterSeconds": 1}


def test_options_that_are_invalid_are_listed_as_natively():
    rules = ("Forbidden: a is forbidden", 'Unsupported value: "x": supported values: "y"')
    document = status.of(
        errors.InvalidOptions(tuple(errors.Cause("a", None, rule) for rule in rules))
    )
    assert document["message"] == (
        f'ListOptions.meta.k8s.io "" is invalid: [a: {rules[0]}, a: {rules[1]}]'
    )
    reasons = [cause["reason"] for cause in document["details"]["causes"]]
    assert reasons == ["FieldValueForbidden", "FieldValueNotSupported"]


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (errors.StorageError("/var/lib/x: gone"), 500, "an internal error; the log has it under"),
        (errors.Unavailable("https://10.0.0.1: refused"), 503, "the server cannot answer now; the"),
        (errors.BadRecord("/var/lib/x", (errors.Cause("f", "/var/lib", "x"),)), 500, "an internal"),
    ],
)
def test_an_error_of_the_server_tells_only_where_the_log_has_it(error, code, text):
    document = status.of(error, {"name": "x"}, "id-1")
    assert document["code"] == code
    assert document["message"].startswith(text)
    assert document["message"].endswith("under Audit-Id id-1")
    assert "causes" not in document["details"]
    assert "10.0.0.1" not in str(document)
    assert "/var/lib" not in str(document)


def test_a_reason_that_every_client_may_read_is_told():
    document = status.of(errors.NotReady("cannot check it now"))
    assert (document["code"], document["message"]) == (503, "cannot check it now")


def test_what_a_caller_chose_is_not_repeated_without_bound():
    cause = errors.Cause("metadata.labels[" + "x" * 100_000, "y" * 100_000, "must be short")
    document = status.of(errors.Invalid("z" * 100_000, (cause,) * 1000))
    assert len(str(document)) < 50 * 600 + 10_000
