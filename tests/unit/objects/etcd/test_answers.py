from __future__ import annotations

import json

import pytest

from coredumpd import errors
from coredumpd.objects.etcd import answers


def refusal(code: int, message: str = "etcdserver: no") -> answers.Refusal:
    return answers.refusal(400, json.dumps({"code": code, "message": message}).encode())


def test_the_gateways_code_and_message_are_taken_from_its_json():
    parsed = refusal(16, "etcdserver: invalid auth token")
    assert (parsed.code, parsed.message) == (16, "etcdserver: invalid auth token")


def test_etcd_3_4_calls_its_message_error():
    assert answers.refusal(400, b'{"code": 3, "error": "old"}').message == "old"


@pytest.mark.parametrize(
    "data", [b"", b"<html>", b"[]", b"{}", b'{"code": null}', b'"code"', b"\xff"]
)
def test_an_answer_that_is_not_the_gateways_is_kept_as_text(data):
    parsed = answers.refusal(502, data)
    assert parsed.code == 0
    assert parsed.message.startswith("HTTP 502: ")


def test_a_long_answer_is_cut():
    assert len(answers.refusal(500, b"x" * 10_000).message) < 400


def test_a_404_says_how_to_switch_the_gateway_on():
    assert "--enable-grpc-gateway=true" in answers.refusal(404, b"404 page not found").message


@pytest.mark.parametrize("code", [3, 7, 8, 9, 11, 12, 16])
def test_these_codes_say_that_nothing_was_done(code):
    assert refusal(code).is_definite


@pytest.mark.parametrize("code", [1, 2, 4, 10, 13, 14, 15])
def test_after_any_other_code_it_may_have_been_done(code):
    assert not refusal(code).is_definite


def test_only_a_refusal_about_the_token_asks_for_a_new_one():
    assert refusal(16, "etcdserver: invalid auth token").is_of_old_token
    assert refusal(3, "etcdserver: revision of auth store is old").is_of_old_token
    assert not refusal(7, "etcdserver: permission denied").is_of_old_token


@pytest.mark.parametrize(
    ("code", "message", "kind"),
    [
        (11, "etcdserver: mvcc: required revision has been compacted", errors.Expired),
        (
            11,
            "etcdserver: mvcc: required revision is a future revision",
            errors.TooLargeResourceVersion,
        ),
        (3, "etcdserver: request is too large", errors.TooLarge),
        (3, "etcdserver: key is not provided", errors.StorageError),
        (8, "etcdserver: mvcc: database space exceeded", errors.Unavailable),
        (7, "etcdserver: permission denied", errors.StorageError),
    ],
)
def test_a_refusal_is_an_error_that_callers_know(code, message, kind):
    error = answers.as_error("https://etcd:2379", refusal(code, message))
    assert type(error) is kind
