from __future__ import annotations

import pytest

from coredumpd import errors
from coredumpd.apiserver.machinery import options


def test_a_continue_token_survives_the_trip():
    assert options.parse_token(options.make_token(7, "/a/b")) == (7, "/a/b")


@pytest.mark.parametrize("token", ["x", "e30", "bnVsbA", "é", "A" * 5000])
def test_a_token_of_somebody_else_is_refused(token):
    with pytest.raises(errors.BadRequest, match="continue key is not valid"):
        options.parse_token(token)


@pytest.mark.parametrize("text", ["-1", "x", "1.5", "9" * 30, "٣"])
def test_a_limit_that_is_no_number_is_refused(text):
    with pytest.raises(errors.BadRequest, match="limit is"):
        options.list_({"limit": text}, ())


def test_dry_run_is_all_or_invalid():
    assert options.write({"dryRun": "All"}).dry_run
    with pytest.raises(errors.Invalid):
        options.write({"dryRun": "Some"})


def test_unknown_fields_are_refused_unless_the_client_asks_otherwise():
    assert options.write({}).validation == "Strict"
    assert options.write({"fieldValidation": "Warn"}).validation == "Warn"
    with pytest.raises(errors.Invalid):
        options.write({"fieldValidation": "Perhaps"})
