from __future__ import annotations

import base64
import json

import pytest

from coredumpd import errors
from coredumpd.apiserver.machinery import options


def test_a_continue_token_survives_the_trip():
    assert options.parse_token(options.make_token(7, "/a/b")) == (7, "/a/b")


@pytest.mark.parametrize("token", ["x", "e30", "bnVsbA", "é", "A" * 5000])
def test_a_token_of_somebody_else_is_refused(token):
    with pytest.raises(errors.BadRequest, match="continue key is not valid"):
        options.parse_token(token)


@pytest.mark.parametrize("rv", [0, -1, 2**63, True, 1.5, "1", None])
def test_a_token_whose_revision_no_store_gives_is_refused(rv):
    token = base64.urlsafe_b64encode(
        json.dumps({"v": "coredump/1", "rv": rv, "start": "/a"}).encode()
    ).decode()
    with pytest.raises(errors.BadRequest, match="continue key is not valid"):
        options.parse_token(token)


@pytest.mark.parametrize("start", ["\ud800", None, 5, ["/a"]])
def test_a_token_whose_start_is_no_text_is_refused(start):
    token = base64.urlsafe_b64encode(
        json.dumps({"v": "coredump/1", "rv": 1, "start": start}).encode()
    ).decode()
    with pytest.raises(errors.BadRequest, match="continue key is not valid"):
        options.parse_token(token)


@pytest.mark.parametrize("name", ["limit", "timeoutSeconds", "resourceVersion"])
@pytest.mark.parametrize("text", ["x", "1.5", "9" * 30, "٣", "+1", "--1", str(2**63)])
@pytest.mark.parametrize("parse", [options.list_, options.watch])
def test_what_is_no_number_is_refused(parse, name, text):
    with pytest.raises(errors.BadRequest, match=f"{name} is"):
        parse({name: text}, ())


def test_a_negative_limit_is_none_as_natively():
    assert options.list_({"limit": "-1"}, ()).limit == 0


@pytest.mark.parametrize(
    ("query", "revision", "at_least"),
    [
        ({}, 0, 0),
        ({"resourceVersion": "0"}, 0, 0),
        ({"resourceVersion": "7"}, 0, 7),
        ({"resourceVersion": "7", "resourceVersionMatch": "NotOlderThan", "limit": "5"}, 0, 7),
        ({"resourceVersion": "7", "resourceVersionMatch": "Exact"}, 7, 7),
        ({"resourceVersion": "7", "limit": "5"}, 7, 7),
    ],
)
def test_a_list_is_of_the_state_that_its_options_ask_for(query, revision, at_least):
    selection = options.list_(query, ())
    assert (selection.revision, selection.at_least) == (revision, at_least)


def test_a_revision_beside_a_token_is_refused():
    token = options.make_token(7, "/a")
    assert options.list_({"continue": token, "resourceVersion": "0"}, ()).revision == 7
    with pytest.raises(errors.BadRequest, match="not allowed when using continue"):
        options.list_({"continue": token, "resourceVersion": "7"}, ())


def test_dry_run_is_all_or_invalid():
    assert options.write({"dryRun": "All"}).dry_run
    with pytest.raises(errors.Invalid):
        options.write({"dryRun": "Some"})


def test_unknown_fields_are_refused_unless_the_client_asks_otherwise():
    assert options.write({}).validation == "Strict"
    assert options.write({"fieldValidation": "Warn"}).validation == "Warn"
    with pytest.raises(errors.Invalid):
        options.write({"fieldValidation": "Perhaps"})
